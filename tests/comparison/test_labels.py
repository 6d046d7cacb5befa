"""Labels as truth values, and errors if they cannot be."""

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.comparison import anomaly_labels
from vae_anomaly.errors import DataError


@pytest.mark.parametrize(
    "labels, anomaly_values, expected",
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
def test_a_label_is_anomalous_if_it_is_named_or_true_or_not_0(labels, anomaly_values, expected):
    assert anomaly_labels(pd.Series(labels), anomaly_values).tolist() == expected


@pytest.mark.parametrize(
    "labels, anomaly_values, message",
    [
        ([0, None, 1, None], [], "'state' has no label in 2 of 4 rows, the first of them row 2. Fill them in"),
        ([0, 0, 0], [], "'state' calls no row anomalous; its values are '0'"),
        ([1, -1, 1], [], "'state' calls every row anomalous; its values are '1', '-1'"),
        (["a", "b"], ["a", "b"], "'state' calls every row anomalous"),
        (["a", "b"], [], "'state' holds 'a', 'b'. Name those of anomalous rows, on the command line with --anomaly-v"),
        (["a", "b"], ["A"], "'state' has no value 'A'; its values are 'a', 'b'."),
        (list("aabcdefghij"), ["A"], "its values are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', and 2 more"),
    ],
)
def test_labels_of_no_use_are_refused_in_one_sentence(labels, anomaly_values, message):
    with pytest.raises(DataError) as raised:
        anomaly_labels(pd.Series(labels, name="state"), anomaly_values)
    assert message in str(raised.value)
