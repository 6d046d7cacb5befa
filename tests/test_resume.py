"""A fit that is killed at any moment goes on from its checkpoint and ends in the model of an undisturbed one."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from vae_anomaly import VAEDetector
from vae_anomaly.errors import FitWarning, OutputError
from vae_anomaly.io import atomic as files
from vae_anomaly.training import checkpoints
from vae_anomaly.training import trainer as loop

TINY = {"hidden_layer_sizes": (8,), "max_iter": 40, "random_state": 0}
KINDS = {
    "outlier": {"n_estimators": 3, "n_components": 2},
    "novelty": {"novelty": True, "validation_fraction": 0.2, "n_estimators": 2, "n_components": 2},
    "representation": {"purpose": "representation", "n_components": 2, "max_iter": 100},
    "autoencoder": {"variational": False, "n_estimators": 1},
    "cross": {"calibration": "cross", "n_estimators": 1, "n_components": 2, "max_iter": 4},
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(20261126)
    X = rng.normal(size=(120, 3)) @ rng.normal(size=(3, 5)) + 0.1 * rng.normal(size=(120, 5))
    X[::7, 1] = np.nan
    return X


@pytest.fixture(autouse=True)
def _written_after_every_round(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "DEARER", 0.0)


@pytest.fixture(scope="module")
def undisturbed(X, tmp_path_factory):
    """Bytes of the model file of each kind, fitted without a checkpoint."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for kind, parameters in KINDS.items():
        VAEDetector(**{**TINY, **parameters}).fit(X).save(folder / kind)
    return {kind: (folder / kind).read_bytes() for kind in KINDS}


def in_a_process(work):
    """Run ``work`` in a forked process; the signal that ended it, or 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def kill_in(owner, name, call, *, after=False):
    """Have the process killed in the given call of a function, before or ``after`` its work."""
    real, calls = getattr(owner, name), []

    def deadly(*arguments, **named):
        calls.append(None)
        if len(calls) == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def fit(X, folder, target, parameters, prepare=lambda: None):
    prepare()
    VAEDetector(**{**TINY, **parameters}, checkpoint=folder).fit(X).save(target)


MOMENTS = {
    "before anything is written": ("novelty", loop.Trainer, "_step", 1, {}),
    "in the middle of a round": ("novelty", loop.Trainer, "_step", 17, {}),
    "before the file takes its place": ("novelty", os, "replace", 5, {}),
    "after the file took its place": ("novelty", os, "replace", 5, {"after": True}),
    "after the last round": ("novelty", loop.VAE, "load_state_dict", 1, {}),
    "outlier detection": ("outlier", os, "replace", 5, {}),
    "while the KL is warmed up": ("representation", os, "replace", 3, {}),
    "after it is warmed up": ("representation", os, "replace", 7, {}),
    "a plain autoencoder": ("autoencoder", os, "replace", 5, {}),
    "in the third training of six": ("cross", os, "replace", 10, {}),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_a_fit_ends_in_the_same_file(X, undisturbed, tmp_path, moment):
    kind, owner, name, call, details = MOMENTS[moment]
    folder, target, parameters = tmp_path / "kept", tmp_path / "model.vae", KINDS[kind]

    def prepare():
        kill_in(owner, name, call, **details)

    assert in_a_process(lambda: fit(X, folder, target, parameters, prepare)) == signal.SIGKILL
    assert not target.exists()
    assert in_a_process(lambda: fit(X, folder, target, parameters)) == 0
    assert target.read_bytes() == undisturbed[kind]
    assert list(folder.iterdir()) == []


class Witness:
    """Counts rounds, by their numbers; interrupts after the one that is asked for."""

    def __init__(self, interrupt_after=None):
        self.rounds, self.done, self.interrupt_after = [], None, interrupt_after

    def setup(self, estimator, context):
        self.done = context.done

    def on_fit_task_end(self, estimator, context):
        if context.parent is not None:
            self.rounds.append(context.task_id)
            if context.task_id == self.interrupt_after:
                raise KeyboardInterrupt


def interrupted(X, folder, **parameters):
    """Rounds 0 to 7 are done, and 7 is interrupted before its state is written."""
    with pytest.raises(KeyboardInterrupt):
        tiny(folder, Witness(7), **parameters).fit(X)
    return folder


def tiny(folder, *callbacks, **parameters):
    return VAEDetector(**{**TINY, "n_estimators": 1, **parameters}, checkpoint=folder, callbacks=list(callbacks))


def test_rounds_that_were_done_are_neither_repeated_nor_reported_again(X, tmp_path):
    witness = Witness()
    detector = tiny(interrupted(X, tmp_path / "kept"), witness).fit(X)
    assert witness.done == 7
    assert witness.rounds == list(range(7, 20))
    assert detector.history_["step"] == list(range(2, 41, 2))
    assert detector.history_ == tiny(None).fit(X).history_


@pytest.mark.parametrize(
    "rows, parameters, told",
    [(119, {}, "rows"), (120, {"max_iter": 20}, "max_iter"), (120, {"random_state": 1}, "random_state")],
)
def test_the_checkpoint_of_another_fit_is_refused_and_kept(X, tmp_path, rows, parameters, told):
    folder = interrupted(X, tmp_path / "kept")
    before = (folder / "fit.checkpoint").read_bytes()
    with pytest.raises(OutputError, match=f"another fit; the two differ in .*{told}.* Name another folder, or delete"):
        tiny(folder, **parameters).fit(X[:rows])
    assert (folder / "fit.checkpoint").read_bytes() == before


def test_the_checkpoint_of_other_versions_is_refused(X, tmp_path, monkeypatch):
    folder = interrupted(X, tmp_path / "kept")
    monkeypatch.setattr("vae_anomaly.fit.library_versions", lambda: {"torch": "1.0"})
    with pytest.raises(OutputError, match="differ in .*torch"):
        tiny(folder).fit(X)


@pytest.mark.parametrize("place", [3, -3])
def test_a_damaged_checkpoint_is_refused(X, tmp_path, place):
    folder = interrupted(X, tmp_path / "kept")
    content = bytearray((folder / "fit.checkpoint").read_bytes())
    content[place] ^= 1
    (folder / "fit.checkpoint").write_bytes(content)
    with pytest.raises(OutputError, match=r"fit\.checkpoint' is damaged. Delete it"):
        tiny(folder).fit(X)


def test_a_second_fit_in_the_same_folder_is_refused_while_the_first_runs(X, tmp_path):
    with (
        checkpoints.checkpoint_folder(tmp_path / "kept"),
        pytest.raises(OutputError, match="Another fit keeps its checkpoints in .*kept"),
    ):
        tiny(tmp_path / "kept").fit(X)
    tiny(tmp_path / "kept").fit(X)


def test_what_a_killed_fit_left_is_removed_and_nothing_else(X, tmp_path):
    ours = [f".{name}.{'0' * 24}.tmp" for name in ("fit.checkpoint", "fold-2.checkpoint")]
    others = ["notes.txt", "mine.checkpoint", f".model.vae.{'0' * 24}.tmp"]
    for name in [*ours, *others]:
        (tmp_path / name).touch()
    tiny(tmp_path, calibration="cross", max_iter=2).fit(X)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("place", ["a file", "absent/kept", "a\0b"])
def test_a_folder_that_cannot_be_is_refused_before_training(X, tmp_path, place):
    (tmp_path / "a file").touch()
    witness = Witness()
    with pytest.raises(OutputError, match="Cannot make the folder .* Name another one"):
        tiny(tmp_path / place, witness).fit(X)
    assert witness.done is None


def test_a_folder_that_takes_no_files_is_refused_before_training(X, tmp_path, monkeypatch):
    real = os.open

    def refuse(path, *arguments):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(OutputError, match="no permission to create files in"):
        tiny(tmp_path).fit(X)


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_fit(X, tmp_path, monkeypatch):
    calls = []

    def sometimes(*_):
        calls.append(None)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", sometimes)
    witness = Witness(12)
    with (
        pytest.warns(FitWarning, match="goes on without a new checkpoint. .* the disk is full"),
        pytest.raises(KeyboardInterrupt),
    ):
        tiny(tmp_path, witness).fit(X)
    monkeypatch.undo()
    again = Witness()
    tiny(tmp_path, again).fit(X)
    assert again.done == 3  # the last that could be written


def test_the_state_is_written_now_and_then(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "EVERY", 5.0)
    monkeypatch.setattr(checkpoints, "DEARER", 50)
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    real = checkpoints.write_model

    def slow(*arguments):
        now[0] += 0.2 if now[0] > 9 else 0.01
        real(*arguments)

    monkeypatch.setattr(checkpoints, "write_model", slow)
    checkpoint, written = checkpoints.Checkpoint(tmp_path / "fit.checkpoint", {}), []
    for second in range(30):
        now[0] = max(now[0], second)
        checkpoint.offer(lambda second=second: written.append(second) or checkpoints.State({}, {"x": np.zeros(1)}))
    assert written == [5, 11, 22]  # 5 s apart, and after a writing of 0.2 s 10 s


def test_a_halved_batch_stays_halved(X, tmp_path, monkeypatch):
    real = loop.Trainer._gradient_step

    def sometimes(self, step):
        if step == 4 and self.plan.batch_size == 32:
            raise torch.OutOfMemoryError("none left")
        return real(self, step)

    monkeypatch.setattr(loop.Trainer, "_gradient_step", sometimes)
    with pytest.warns(FitWarning, match="halved"):
        whole = tiny(None, batch_size=32).fit(X)
    with pytest.warns(FitWarning, match="halved"):
        folder = interrupted(X, tmp_path / "kept", batch_size=32)
    with pytest.warns(FitWarning, match="halved"):  # that of the second model, which is trained anew
        resumed = tiny(folder, batch_size=32).fit(X)
    assert resumed.batch_size_ == 16
    assert (resumed.score_samples(X) == whole.score_samples(X)).all()


def test_training_that_a_callback_stopped_is_over(X, tmp_path):
    class Stop(Witness):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            if context.parent is None:
                raise KeyboardInterrupt
            return context.task_id == 4

    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path, Stop()).fit(X)
    witness = Witness()
    assert tiny(tmp_path, witness).fit(X).n_iter_ == 10
    assert witness.rounds == []


def test_without_a_number_to_start_from_there_is_no_checkpoint(X, tmp_path):
    with pytest.raises(ValueError, match="checkpoint needs a number as 'random_state'"):
        tiny(tmp_path, random_state=None).fit(X)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_fit_continues_as_well(X, tmp_path):
    """Not bit for bit: sums may come in another order there."""
    whole = tiny(None, device="cuda").fit(X)
    resumed = tiny(interrupted(X, tmp_path / "kept", device="cuda"), device="cuda").fit(X)
    np.testing.assert_allclose(resumed.score_samples(X), whole.score_samples(X), rtol=1e-3)


@pytest.mark.slow
def test_a_command_that_is_killed_by_the_clock_continues(tmp_path):
    """Whole processes, killed wherever it falls, also while they start or calibrate."""
    pd.DataFrame(np.random.default_rng(0).normal(size=(3000, 30))).to_csv(tmp_path / "data.csv", index=False)
    script = (
        "import sys; from vae_anomaly.training import checkpoints; checkpoints.EVERY = 0.1\n"
        "from vae_anomaly_cli.main import main; main(sys.argv[1:])"
    )

    def command(name, *more):
        arguments = ["fit", "data.csv", "--calibration", "cross", "--output", name, *more]
        return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=tmp_path)

    assert command("undisturbed.vae").wait(600) == 0
    kills, allowed = 0, 5.0  # seconds, more each time: on a busy machine the start alone takes some
    while True:
        running = command("model.vae", "--checkpoint", "kept")
        try:
            running.wait(allowed)
            break
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            kills, allowed = kills + 1, 1.3 * allowed
    assert running.returncode == 0
    assert kills > 0
    assert (tmp_path / "model.vae").read_bytes() == (tmp_path / "undisturbed.vae").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "kept", "model.vae", "undisturbed.vae"]
