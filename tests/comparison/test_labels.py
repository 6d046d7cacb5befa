"""Labels as truth values, and one sentence where they are none."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.comparison import anomaly_labels
from vae_anomaly.errors import DataError


@pytest.mark.parametrize(
    "labels, odd, expected",
    [
        ([0, 1, 0], [], [False, True, False]),
        ([0.0, 2.5, -1.0], [], [False, True, True]),
        ([True, False, True], [], [True, False, True]),
        (np.array([True, False, False], dtype=object), [], [True, False, False]),
        ([1, -1, 1], ["-1"], [False, True, False]),  # as scikit-learn has it
        ([1.0, 2.0, 3.0], ["2", 3], [False, True, True]),
        (["ill", "well", "worse"], ["ill", "worse"], [True, False, True]),
        ([True, False, True], ["False"], [False, True, False]),
        (pd.Categorical(["a", "b", "a"]), ["b"], [False, True, False]),
    ],
)
def test_a_label_means_odd_where_it_is_named_or_true_or_not_0(labels, odd, expected):
    assert anomaly_labels(pd.Series(labels), odd).tolist() == expected


@pytest.mark.parametrize(
    "labels, odd, told",
    [
        ([0, None, 1, None], [], "'state' has no label in 2 of 4 rows, the first of them row 2. Fill them in"),
        ([0, 0, 0], [], "'state' calls no row odd; its values are '0'"),
        ([1, -1, 1], [], "'state' calls every row odd; its values are '1', '-1'"),
        (["a", "b"], ["a", "b"], "'state' calls every row odd"),
        (["a", "b"], [], "'state' holds 'a', 'b'. Say which of them mean odd, on the command line with --anomaly-v"),
        (["a", "b"], ["A"], "'state' has no value 'A'; its values are 'a', 'b'."),
        (list("aabcdefghij"), ["A"], "its values are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', and 2 more"),
    ],
)
def test_labels_that_tell_nothing_are_refused_in_one_sentence(labels, odd, told):
    with pytest.raises(DataError) as raised:
        anomaly_labels(pd.Series(labels, name="state"), odd)
    assert told in str(raised.value)
