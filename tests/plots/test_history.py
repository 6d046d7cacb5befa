import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from vae_anomaly import VAEDetector
from vae_anomaly.plots import plot_history


def lines_of(axes):
    return {line.get_label(): np.array(line.get_data()) for line in axes.get_lines()}


def test_the_bound_and_its_terms_are_those_of_the_history(model):
    bound, likelihood, kl = plot_history(model).axes
    history, lines = model.history_, lines_of(bound)
    assert_array_equal(lines["training rows"], [history["step"], history["elbo"]])
    assert_array_equal(lines["held-out rows"], [history["step"], history["held_out_elbo"]])
    for axes, term in ((likelihood, "log_likelihood"), (kl, "kl")):
        assert_array_equal(axes.get_lines()[0].get_data(), [history["step"], history[term]])
    assert [axes.get_ylabel() for axes in (bound, likelihood, kl)] == [
        "ELBO, nats per row",
        "log-likelihood, nats per row",
        "KL, nats per row",
    ]
    assert {axes.get_xlabel() for axes in (bound, likelihood, kl)} == {"step"}


def test_the_best_step_on_held_out_rows_is_marked(model):
    best = model.history_["step"][np.argmax(model.history_["held_out_elbo"])]
    marks = lines_of(plot_history(model).axes[0])
    assert_array_equal(marks[f"best on held-out rows: step {best}"][0], best)


def test_without_held_out_rows_there_is_one_line_and_no_legend(of_numbers):
    bound = plot_history(of_numbers).axes[0]
    assert len(bound.get_lines()) == 1
    assert bound.get_legend() is None


def test_a_plain_autoencoder_has_an_error_and_no_terms(plain):
    (axes,) = plot_history(plain).axes
    assert axes.get_ylabel() == "minus the squared error per row"
    assert_array_equal(axes.get_lines()[0].get_ydata(), plain.history_["elbo"])


def test_a_detector_must_be_fitted():
    with pytest.raises(NotFittedError):
        plot_history(VAEDetector())
