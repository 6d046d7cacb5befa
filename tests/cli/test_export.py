"""``vae-anomaly export``: a model file becomes a graph that scores as it does."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector, load


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """How the command ended in a process of its own, and the file that it wrote."""
    target = tmp_path_factory.mktemp("graphs") / "people.onnx"
    command = [sys.executable, "-m", "vae_anomaly_cli", "export", str(model), "--output", str(target)]
    return subprocess.run(command, check=True, timeout=300, capture_output=True, text=True), target


def test_one_line_is_printed_and_no_library_prints_anything(exported, model):
    ended, target = exported
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        f"{target}: graph of 3 columns; its scores match those of {model} to a relative error of "
    )
    assert ended.stderr.count("\n") == 1


def test_the_graph_scores_new_rows_as_the_model_does(exported, model):
    detector = load(model, device="cpu")
    new = pd.DataFrame({"height": [171.3, 150.0, np.nan], "weight": [70.1, 140.3, 61.0], "colour": ["red", "red", "?"]})
    rows = detector.schema_.as_numbers(new)
    scores, is_anomaly = onnxruntime.InferenceSession(exported[1]).run(None, {"rows": rows})
    assert_allclose(scores, detector.anomaly_score(new), rtol=1e-10)
    assert is_anomaly.tolist() == (detector.predict(new) == -1).tolist()


def test_what_cannot_be_exported_is_one_sentence_that_names_the_model(cli, tmp_path):
    pixels = np.random.default_rng(0).random((40, 256))
    code = VAEDetector(purpose="representation", image_shape=(1, 16, 16), max_iter=2, random_state=0).fit(pixels)
    code.save(tmp_path / "code.vae")
    ended = cli("export", tmp_path / "code.vae", "--output", tmp_path / "code.onnx")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {tmp_path / 'code.vae'}: Convolutional networks are not exported")
    assert not (tmp_path / "code.onnx").exists()


@pytest.mark.parametrize("target", ["-", "none/a.onnx", "people.vae"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_slow(cli, model, target, monkeypatch):
    monkeypatch.chdir(model.parent)
    before = model.read_bytes()
    assert cli("export", model, "--output", target).status == 2
    assert model.read_bytes() == before
