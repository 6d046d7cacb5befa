"""The command that compares detectors on a labelled table."""

import io

import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("_quick_fits")

LABEL = ["--label", "state", "--anomaly-values", "broken"]
METHODS = ["vae-anomaly", "IsolationForest", "LocalOutlierFactor", "5 nearest neighbours"]


@pytest.fixture(scope="module")
def labelled(frame, tmp_path_factory):
    """The table of people with a label, which alone would identify the anomaly."""
    path = tmp_path_factory.mktemp("tables") / "labelled.csv"
    frame.drop(columns="name").assign(state=["broken" if row == 16 else "fine" for row in range(40)]).to_csv(
        path, index=False
    )
    return path


def test_every_method_is_measured_and_none_sees_the_label(cli, labelled, csv, frame, tmp_path):
    ended = cli("benchmark", labelled, *LABEL, "--output", tmp_path / "figures.csv")
    assert (ended.status, ended.out) == (0, "")
    assert "1 of 40 rows are anomalous; trained on all rows, all scored; chance gives" in ended.err
    assert "an average precision of 0.025." in ended.err
    figures = pd.read_csv(tmp_path / "figures.csv")
    assert figures["method"].tolist() == METHODS
    assert figures.columns.tolist() == [
        "method", "seed", "auroc", "average_precision", "fit_seconds", "score_seconds"
    ]  # fmt: skip
    without = pd.read_csv(csv).assign(label=[int(row == 16) for row in range(40)])
    without.to_csv(tmp_path / "other.csv", index=False)
    other = pd.read_csv(io.StringIO(cli("benchmark", tmp_path / "other.csv", "--label", "label").out))
    metrics = ["auroc", "average_precision"]
    assert other[metrics].equals(figures[metrics])


def test_seeds_follow_the_first_and_excluded_columns_are_hidden(cli, labelled):
    options = [*LABEL, "-x", "weight", "-x", "height", "--seed", 2**32 - 1, "--seeds", 2]
    figures = pd.read_csv(io.StringIO(cli("benchmark", labelled, *options).out))
    assert figures["seed"].tolist() == [2**32 - 1, 0, 2**32 - 1, 0, 2**32 - 1, 2**32 - 1]
    assert figures["auroc"].max() < 1  # the columns in which it is anomalous are hidden


def test_with_novelty_half_of_the_normal_rows_are_learned_from(cli, labelled):
    ended = cli("benchmark", labelled, *LABEL, "--novelty")
    assert "trained on half of the normal rows, all others scored; chance gives an average precision of 0.048" in (
        ended.err
    )
    assert len(ended.out.splitlines()) == 5


@pytest.mark.parametrize(
    "options, message",
    [
        (["--label", "stat"], "There is no column 'stat' for --label. Did you mean 'state'?"),
        (["--label", "state"], "labelled.csv: Column 'state' holds 'fine', 'broken'. Name those of anomalous rows"),
        (["--label", "state", "--anomaly-values", "Broken"], "Column 'state' has no value 'Broken'"),
        (
            [*LABEL, "--anomaly-values", "fine"],
            "Column 'state' calls every row anomalous",
        ),
        ([*LABEL, "--exclude", "weigth"], "Did you mean 'weight'?"),
        (["--label", "state", "--anomaly-values", "fine", "--novelty"], "1 normal rows are too few"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(cli, labelled, options, message):
    ended = cli("benchmark", labelled, *options)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert message in ended.err


def test_each_method_has_a_run_in_that_of_the_comparison(cli, labelled, store):
    options = [*LABEL, "--seeds", 2, "--experiment", "people", "--run-name", "all"]
    ended = cli("benchmark", labelled, *options)
    figures = pd.read_csv(io.StringIO(ended.out))
    found = store.search_runs([store.get_experiment_by_name("people").experiment_id])  # the latest first
    runs = {run.info.run_name: run for run in found}
    assert set(runs) == {"all", *METHODS}
    whole = runs.pop("all")
    assert f"tracked as run {whole.info.run_id} in sqlite:" in ended.err
    assert (whole.data.params["label"], whole.data.params["anomaly_values"]) == ("state", "['broken']")
    assert whole.inputs.dataset_inputs[0].dataset.name == "labelled.csv"
    assert [artifact.path for artifact in store.list_artifacts(whole.info.run_id)] == ["comparison.csv"]
    aurocs = [run.data.metrics["auroc"] for run in runs.values()]
    assert aurocs == sorted(aurocs, reverse=True)
    for method, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == whole.info.run_id
        ours = figures[figures["method"] == method]
        assert run.data.metrics["auroc"] == pytest.approx(ours["auroc"].mean())
        assert ("auroc_sd" in run.data.metrics) == (len(ours) > 1)
    assert {run.info.status for run in [whole, *runs.values()]} == {"FINISHED"}


def test_a_comparison_that_fails_leaves_a_failed_run(cli, labelled, store):
    ended = cli("benchmark", labelled, *LABEL, "--device", "cuda:99", "--track")
    assert ended.status == 2
    [run] = store.search_runs(["0"])
    assert run.info.status == "FAILED"


@pytest.mark.mlflow
def test_a_store_that_is_away_costs_the_tracking_and_not_the_figures(cli, labelled, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    arguments = ["benchmark", labelled, *LABEL]
    ended = cli(*arguments, "--track")
    assert (ended.status, len(ended.out.splitlines())) == (0, 5)
    assert ended.err.count("Tracking stopped") == 1
    ended = cli(*arguments, "--track-required")
    assert (ended.status, ended.out) == (1, "")
