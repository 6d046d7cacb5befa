"""Everything that scikit-learn asks of an estimator: all of it holds, and no check is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from vae_anomaly import VAEDetector


def checks_of(*estimators):
    """scikit-learn's checks as a list: before 1.9 it hands over a generator, which pytest 9 warns of."""
    mark = parametrize_with_checks(list(estimators))
    names, cases = mark.args
    return pytest.mark.parametrize(names, list(cases), **mark.kwargs)


@checks_of(VAEDetector(max_iter=5, hidden_layer_sizes=(8,)))
def test_scikit_learn(estimator, check):
    check(estimator)


SMALL = {"max_iter": 5, "hidden_layer_sizes": (4,), "n_estimators": 1}


@pytest.mark.slow
@checks_of(
    VAEDetector(),
    # novelty with exemplars flags fewer training rows than contamination says: there they count for themselves
    VAEDetector(novelty=True, prior="gaussian", bound="iwae", **SMALL),
    VAEDetector(variational=False, **SMALL),
    VAEDetector(likelihood="student_t", contamination=0.1, n_draws=1, **SMALL),
)
def test_scikit_learn_of_its_other_kinds(estimator, check):
    check(estimator)
