import numpy as np
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.training.callbacks import CallbackRunner, Context, ProgressBar


class Recorder:
    """Writes down what it is told; does what it is asked to at a chosen moment."""

    def __init__(self, act_at=None, act=lambda: None):
        self.calls, self.act_at, self.act = [], act_at, act

    def _note(self, what, context, metadata=None):
        place = what if context.parent is None else f"{what} {context.task_id}"
        self.calls.append((place, context, metadata))
        return self.act() if place == self.act_at else None

    def setup(self, estimator, context):
        return self._note("setup", context)

    def on_fit_task_begin(self, estimator, context):
        return self._note("begin", context)

    def on_fit_task_end(self, estimator, context, *, metadata=None):
        return self._note("end", context, metadata)

    def teardown(self, estimator, context):
        return self._note("teardown", context)

    @property
    def places(self):
        return [place for place, _, _ in self.calls]


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(40, 3))


def tiny(*callbacks, **parameters):
    chosen = {"max_iter": 4, "hidden_layer_sizes": (4,), "n_estimators": 1, "random_state": 0, **parameters}
    return VAEDetector(callbacks=list(callbacks), **chosen)


def fail(error):
    def act():
        raise error

    return act


def test_a_fit_is_reported_in_order(X):
    recorder = Recorder()
    tiny(recorder).fit(X)
    rounds = [f"{what} {number}" for number in range(4) for what in ("begin", "end")]
    assert recorder.places == ["setup", "begin", *rounds, "end", "teardown"]


def test_each_round_brings_its_figures_those_of_the_history(X):
    recorder = Recorder()
    detector = tiny(recorder).fit(X)
    told = [metadata for place, _, metadata in recorder.calls if place.startswith("end ")]
    assert {name: [figures[name] for figures in told] for name in told[0]} == detector.history_


def test_contexts_name_the_task_and_its_fit(X):
    recorder = Recorder()
    tiny(recorder).fit(X)
    root = recorder.calls[0][1]
    assert (root.estimator_name, root.task_name, root.parent, root.max_subtasks) == ("VAEDetector", "fit", None, 4)
    rounds = [context for _, context, _ in recorder.calls if context.parent is not None]
    assert {context.parent for context in rounds} == {root}
    assert {context.root_uuid for _, context, _ in recorder.calls} == {root.root_uuid}
    assert [context.task_id for context in rounds] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_callback_that_returns_true_stops_training(X):
    recorder = Recorder("end 1", lambda: True)
    detector = tiny(recorder).fit(X)
    assert detector.n_iter_ == 2
    assert recorder.places[-2:] == ["end", "teardown"]


@pytest.mark.parametrize("answer", [False, None, 1, "yes"])
def test_any_other_answer_does_not(X, answer):
    assert tiny(Recorder("end 1", lambda: answer)).fit(X).n_iter_ == 4


def test_all_callbacks_are_called_though_the_first_asks_to_stop(X):
    stopper, other = Recorder("end 0", lambda: True), Recorder()
    tiny(stopper, other).fit(X)
    assert stopper.places == other.places


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
@pytest.mark.parametrize("place", ["begin", "begin 0", "end 2", "end"])
def test_after_an_error_every_callback_is_torn_down_once(X, place, error):
    breaking, other = Recorder(place, fail(error)), Recorder()
    with pytest.raises(type(error)):
        tiny(other, breaking).fit(X)
    for recorder in (breaking, other):
        assert recorder.places.count("teardown") == 1
        assert recorder.places[-1] == "teardown"


def test_an_error_in_setup_tears_down_only_what_was_set_up(X):
    first, breaking, last = Recorder(), Recorder("setup", fail(RuntimeError("broken"))), Recorder()
    with pytest.raises(RuntimeError, match="broken"):
        tiny(first, breaking, last).fit(X)
    assert first.places == ["setup", "teardown"]
    assert breaking.places == ["setup"]
    assert last.places == []


def test_an_error_in_one_teardown_does_not_spare_the_others(X):
    first, breaking, last = Recorder(), Recorder("teardown", fail(RuntimeError("broken"))), Recorder()
    with pytest.raises(RuntimeError, match="broken"):
        tiny(first, breaking, last).fit(X)
    assert [each.places[-1] for each in (first, breaking, last)] == ["teardown"] * 3


def test_a_callback_takes_what_it_names_and_lacks_what_it_likes():
    heard = []

    class Plain:
        def on_fit_task_end(self, estimator, context):
            heard.append("plain")

    class Greedy:
        def on_fit_task_end(self, estimator, context, **details):
            heard.append(details)

    monitor = CallbackRunner(object(), [Plain(), Greedy(), object()])
    with monitor.training(1):
        assert monitor.report(0, {"elbo": 1.0}) is False
        assert heard == ["plain", {"metadata": {"elbo": 1.0}}]


def test_callbacks_do_not_change_the_model(X):
    assert (tiny(Recorder()).fit(X).score_samples(X) == tiny().fit(X).score_samples(X)).all()


def test_verbose_leaves_standard_output_alone_and_changes_nothing(X, capsys):
    scores = tiny(verbose=1).fit(X).score_samples(X)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""  # standard error is no terminal here
    assert (scores == tiny().fit(X).score_samples(X)).all()


def test_on_a_terminal_the_bar_shows_the_latest_figures(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("TERM", "xterm")
    bar, root = ProgressBar(), Context("VAEDetector", "fit", 0, 2)
    bar.setup(object(), root)
    bar.on_fit_task_end(object(), Context("VAEDetector", "round", 0, 0, root), metadata={"elbo": -12.345678, "kl": 1.0})
    bar.on_fit_task_end(object(), root, metadata={})
    bar._progress.refresh()
    bar.teardown(object(), root)
    bar._progress.refresh()
    bar.on_fit_over(object())
    captured = capsys.readouterr()
    assert "elbo -12.35" in captured.err
    assert captured.err.index("training") < captured.err.rindex("elbo") < captured.err.index("calibrating")
    assert captured.out == ""


def test_the_bar_of_a_fit_that_continues_starts_where_it_was(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    bar, root = ProgressBar(), Context("VAEDetector", "fit", 0, 20, done=12)
    bar.setup(object(), root)
    bar.on_fit_task_end(object(), Context("VAEDetector", "round", 12, 0, root), metadata={"elbo": 1.0})
    [task] = bar._progress.tasks
    bar.on_fit_over(object())
    assert (task.completed, task.total) == (13, 20)


def test_a_notebook_shows_one_line_that_is_empty_in_the_end(monkeypatch, capsys):
    """Without widgets, which rich would ask for."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    display = pytest.importorskip("IPython.display")
    lines = []

    class Handle:
        def update(self, shown, raw):
            lines.append(shown["text/plain"])

    monkeypatch.setattr(display, "display", lambda shown, **_more: lines.append(shown["text/plain"]) or Handle())
    bar, root = ProgressBar(), Context("VAEDetector", "fit", 0, 2)
    bar.setup(object(), root)
    bar.on_fit_task_end(object(), Context("VAEDetector", "round", 0, 0, root), metadata={"elbo": -12.345678})
    bar.teardown(object(), root)
    bar.on_fit_over(object())
    assert lines == ["training 0 of 2  ", "training 1 of 2  elbo -12.35", "", "calibrating", ""]
    assert capsys.readouterr().err == ""


def test_scikit_learns_own_progress_bar_works_here(X, capsys):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    detector = tiny(callback.ProgressBar()).fit(X)
    assert detector.n_iter_ == 4
    assert "VAEDetector" in capsys.readouterr().out


class Witness:
    """Keeps what it is told when all of a fit is over."""

    def __init__(self):
        self.told = []

    def on_fit_over(self, estimator, *, fitted_estimator=None, X=None):
        self.told.append((fitted_estimator, X))


@pytest.mark.parametrize("calibration", ["leave_one_out", "cross"])
def test_when_all_of_a_fit_is_over_callbacks_get_the_fitted_estimator_and_its_table(X, calibration):
    witness = Witness()
    detector = tiny(witness, calibration=calibration).fit(X)
    [(fitted, table)] = witness.told
    assert table is X
    assert fitted.offset_ == detector.offset_
    assert (fitted.score_samples(X) == detector.score_samples(X)).all()


def test_a_fit_that_fails_is_over_without_a_fitted_estimator(X):
    witness = Witness()
    with pytest.raises(RuntimeError, match="broken"):
        tiny(witness, Recorder("end 1", fail(RuntimeError("broken")))).fit(X)
    [(fitted, _)] = witness.told
    assert fitted is None


def test_an_error_when_the_fit_is_over_leaves_the_estimator_as_it_was(X):
    class Broken:
        def on_fit_over(self, estimator):
            raise RuntimeError("broken")

    detector = tiny(Broken())
    with pytest.raises(RuntimeError, match="broken"):
        detector.fit(X)
    assert not detector.__sklearn_is_fitted__()
