"""``--kind COLUMN=KIND`` of the commands that fit a model."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import load
from vae_anomaly.data.columns import IGNORE, KINDS
from vae_anomaly_cli import options

pytestmark = pytest.mark.usefixtures("_quick_fits")


@pytest.fixture(scope="module")
def invoices(tmp_path_factory):
    """A file of 200 invoices; some accounts are missing, so that the file has 4400.0."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, 200)
    account = pd.Series(np.array([4400, 4930, 6300])[rows]).astype(float)
    account[::20] = np.nan
    table = pd.DataFrame({"account": account, "a=b": rows, "total": rng.normal(size=200).round(3)})
    table["late"] = np.arange(200) % 5 == 0
    path = tmp_path_factory.mktemp("tables") / "invoices.csv"
    table.to_csv(path, index=False)
    return path


OPTIONS = ("--kind", "account=category", "--kind", "a=b=ignore")


def test_the_option_names_every_kind():
    """It has its own list, because ``--help`` does not load the package's columns."""
    assert set(options.KINDS) == {*KINDS, IGNORE}


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=["whole", "stream"])
def test_fit_has_the_kinds_asked_for_and_score_reads_the_file_alike(cli, invoices, tmp_path, how):
    model = tmp_path / "invoices.vae"
    assert cli("fit", invoices, *OPTIONS, *how, "--output", model).status == 0
    detector = load(model)
    assert detector.kinds == {"account": "category", "a=b": "ignore"}
    assert dict(zip(detector.schema_.names, detector.schema_.kinds, strict=True))["account"] == "category"
    assert set(detector.schema_.columns[0].levels) == {"4400", "4930", "6300"}
    whole, streamed = (cli("score", invoices, "--model", model, *more) for more in ((), ("--stream",)))
    scores = [pd.read_csv(StringIO(ended.out)).sort_values("row")["anomaly_score"] for ended in (whole, streamed)]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_allclose(scores[0], detector.anomaly_score(pd.read_csv(invoices)), rtol=1e-5)
    about = cli("info", model).out
    assert "a=b (is ignored, as kinds asks for)" in about
    assert "account (asked for by kinds={'account': 'category'})" in about


def test_score_and_report_fit_with_the_kinds_asked_for(cli, invoices, tmp_path):
    assert cli("score", invoices, *OPTIONS).out != cli("score", invoices).out
    assert cli("report", invoices, *OPTIONS, "--output", tmp_path / "a.html").status == 0
    assert "is ignored" in (tmp_path / "a.html").read_text()


def test_benchmark_takes_kinds_for_every_method(cli, invoices):
    plain, asked = (cli("benchmark", invoices, "--label", "late", *options) for options in ((), OPTIONS))
    scores = [pd.read_csv(StringIO(ended.out)).set_index("method")["auroc"] for ended in (plain, asked)]
    assert (scores[0] != scores[1]).all()


@pytest.mark.parametrize("text", ["account", "=category", "account=code", "account="])
def test_what_is_no_kind_is_wrong_usage(cli, invoices, text):
    ended = cli("score", invoices, "--kind", text)
    assert ended.status == 2
    assert "--kind" in ended.err


def test_a_column_that_is_not_there_is_named(cli, invoices):
    ended = cli("score", invoices, "--kind", "acount=category")
    assert (ended.status, ended.out) == (1, "")
    assert "There is no column 'acount' to be of kind 'category'. Did you mean 'account'?" in ended.err


def test_a_fitted_model_has_its_kinds_already(cli, csv, model):
    ended = cli("score", csv, "--model", model, "--kind", "colour=category")
    assert ended.status == 2
    assert "--kind" in ended.err
