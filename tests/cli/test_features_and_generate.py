"""``vae-anomaly features`` and ``generate``: latent features of rows, and generated rows."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, load
from vae_anomaly_cli.main import main

pytestmark = pytest.mark.usefixtures("_quick_fits")


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def detector_of(path: object) -> VAEDetector:
    return load(path, device="cpu")


@pytest.fixture(scope="module")
def typed(frame, tmp_path_factory):
    """The table as a Parquet file with a column of every type, and one that the fit leaves out."""
    path = tmp_path_factory.mktemp("tables") / "typed.parquet"
    height = frame["height"]
    table = pd.DataFrame(
        {
            "height": height.astype("float32"),
            "weight": frame["weight"].round().astype("Int64").mask(frame.index == 3),
            "colour": pd.Categorical(frame["colour"], ["red", "green", "blue"], ordered=True),
            "tall": height > 170,
            "born": pd.Timestamp("2000-01-01") + pd.to_timedelta(height.round(), unit="D"),
            "name": frame["name"],
        }
    )
    table.to_parquet(path)
    return path


@pytest.fixture(scope="module")
def typed_model(typed, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "typed.vae"
    with pytest.raises(SystemExit, match="0"):
        main(["fit", str(typed), "--output", str(path), "--quiet"])
    return path


@pytest.fixture(scope="module")
def autoencoder(csv, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "plain.vae"
    VAEDetector(variational=False, max_iter=5, random_state=0).fit(pd.read_csv(csv)).save(path)
    return path


def test_features_are_the_latent_means_in_the_order_of_the_rows(cli, csv, model):
    ended, detector = cli("features", csv, "--model", model), detector_of(model)
    latents = table_of(ended.out)
    assert (ended.status, ended.err) == (0, "")
    assert list(latents.columns) == list(detector.get_feature_names_out())
    np.testing.assert_allclose(latents, detector.transform(pd.read_csv(csv)), rtol=1e-12)


def test_kept_columns_come_first_and_keep_their_types(cli, typed, typed_model, tmp_path):
    keep = [part for name in ("name", "weight", "colour", "born") for part in ("--keep", name)]
    ended = cli("features", typed, "--model", typed_model, *keep, "--output", tmp_path / "features.parquet")
    written, rows = pd.read_parquet(tmp_path / "features.parquet"), pd.read_parquet(typed)
    latents = detector_of(typed_model).transform(rows)
    pd.testing.assert_frame_equal(written.iloc[:, :4], rows[["name", "weight", "colour", "born"]])
    assert list(written.columns[4:]) == [f"vaedetector{place}" for place in range(latents.shape[1])]
    np.testing.assert_allclose(written.iloc[:, 4:], latents, rtol=1e-12)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.endswith(
        f"features.parquet: 40 rows written, with {latents.shape[1]} latent features from the model's first member.\n"
    )


def test_rows_with_equal_index_values_stay_one_row_each(cli, csv, model, tmp_path):
    rows = pd.read_csv(csv)
    rows.set_axis([7] * len(rows)).to_parquet(tmp_path / "sevens.parquet")
    latents = table_of(cli("features", tmp_path / "sevens.parquet", "--model", model, "--keep", "height").out)
    np.testing.assert_array_equal(latents["height"], rows["height"])
    np.testing.assert_allclose(latents.iloc[:, 1:], detector_of(model).transform(rows), rtol=1e-12)


def test_a_plain_autoencoder_has_features_too(cli, csv, autoencoder):
    latents = table_of(cli("features", csv, "--model", autoencoder).out)
    np.testing.assert_allclose(latents, detector_of(autoencoder).transform(pd.read_csv(csv)), rtol=1e-12)


def test_features_reads_standard_input_and_writes_standard_output(cli, csv, model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv.read_bytes())))
    piped = cli("features", "-", "--model", model, "--output", "-")
    assert (piped.status, piped.out) == (0, cli("features", csv, "--model", model).out)


def test_the_encoding_is_that_of_the_file(cli, csv, model, tmp_path):
    pd.read_csv(csv).assign(place="Orléans").to_csv(tmp_path / "latin.csv", index=False, encoding="latin-1")
    command = ("features", tmp_path / "latin.csv", "--model", model, "--keep", "place")
    assert set(table_of(cli(*command, "--encoding", "latin-1").out)["place"]) == {"Orléans"}
    assert cli(*command).status == 1


def test_a_kept_column_cannot_have_the_name_of_a_feature(cli, csv, model, tmp_path):
    latents = detector_of(model).n_components_
    extra = {"vaedetector0": 1.0, f"vaedetector{latents}": 2.0}
    pd.read_csv(csv).assign(**extra).to_csv(tmp_path / "coded.csv", index=False)
    clash = cli("features", tmp_path / "coded.csv", "--model", model, "--keep", "vaedetector0")
    other = cli("features", tmp_path / "coded.csv", "--model", model, "--keep", f"vaedetector{latents}")
    assert (clash.status, clash.out) == (2, "")
    assert "'vaedetector0'" in clash.err
    assert other.status == 0
    assert set(table_of(other.out)[f"vaedetector{latents}"]) == {2.0}


def test_generate_writes_what_sample_draws(cli, model):
    ended = cli("generate", "--model", model, "--rows", 30, "--seed", 5)
    assert (ended.status, ended.err) == (0, "")
    pd.testing.assert_frame_equal(table_of(ended.out), detector_of(model).sample(30, random_state=5), rtol=1e-12)


def test_drawn_rows_have_the_types_and_categories_of_the_table(cli, typed, typed_model, tmp_path):
    ended = cli("generate", "--model", typed_model, "--rows", 50, "--output", tmp_path / "new.parquet")
    drawn, rows = pd.read_parquet(tmp_path / "new.parquet"), pd.read_parquet(typed)  # of names, the shape is drawn
    pd.testing.assert_series_equal(drawn.dtypes, rows.dtypes)
    assert list(drawn["colour"].cat.categories) == ["red", "green", "blue"]
    assert set(drawn["colour"]) == {"red", "blue"}
    pd.testing.assert_frame_equal(drawn, detector_of(typed_model).sample(50, random_state=0))
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{tmp_path / 'new.parquet'}: 50 rows written, drawn from {typed_model}.\n"


def test_the_same_seed_draws_the_same_rows_and_another_seed_others(cli, model):
    default, zero, one = (
        cli("generate", "--model", model, "--rows", 20, *seed).out for seed in ((), ("--seed", 0), ("--seed", 1))
    )
    assert default == zero
    assert not set(zero.splitlines()[1:]) & set(one.splitlines()[1:])


def test_a_dash_is_standard_output(cli, model):
    named, dash = (cli("generate", "--model", model, "--rows", 3, *more) for more in ((), ("--output", "-")))
    assert len(named.out.splitlines()) == 4
    assert named == dash


def test_a_model_of_an_array_draws_columns_that_are_numbered(cli, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    detector = VAEDetector(max_iter=5, random_state=0).fit(X)
    detector.save(tmp_path / "array.vae")
    drawn = table_of(cli("generate", "--model", tmp_path / "array.vae", "--rows", 7).out)
    assert list(drawn.columns) == ["x0", "x1", "x2"]
    np.testing.assert_allclose(drawn, detector.sample(7, random_state=0), rtol=1e-12)


def test_a_plain_autoencoder_cannot_generate(cli, autoencoder, tmp_path):
    (tmp_path / "new.csv").write_text("old")
    ended = cli("generate", "--model", autoencoder, "--rows", 5, "--output", tmp_path / "new.csv")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"error: {autoencoder}: A plain autoencoder (variational=False) has no density to draw from. "
        "Fit with variational=True.\n"
    )
    assert (tmp_path / "new.csv").read_text() == "old"


def test_quiet_prints_nothing_but_the_data(cli, csv, model, named_csv, tmp_path):
    for command in (("features", named_csv, "--keep", "name"), ("generate", "--rows", 2)):
        target = tmp_path / f"{command[0]}.csv"
        loud = cli(*command, "--model", model, "--output", target)
        quiet = cli(*command, "--model", model, "--output", target, "--quiet")
        assert loud.err.splitlines()[-1].startswith(f"{target}: ")
        assert quiet == type(quiet)(0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("features", "nosuch.csv", "--model", "people.vae"), "There is no file 'nosuch.csv'"),
        (("features", "people.csv", "--model", "nosuch.vae"), "nosuch.vae"),
        (("features", "people.csv", "--model", "people.csv"), "people.csv"),
        (
            ("features", "people.csv", "--model", "people.vae", "--keep", "hieght"),
            "people.csv: There is no column 'hieght' for --keep. Did you mean 'height'?",
        ),
        (
            ("features", "less.csv", "--model", "people.vae"),
            "less.csv: Columns of the fit that the table lacks: 'weight'",
        ),
        (("features", "infinite.csv", "--model", "people.vae"), "infinite.csv: Column 'height' is infinite in row 40"),
        (("generate", "--rows", "3", "--model", "nosuch.vae"), "nosuch.vae"),
        (("generate", "--rows", "3", "--model", "people.csv"), "people.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_sentence_that_names_the_file(cli, csv, model, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    rows = pd.read_csv(csv)
    rows.to_csv("people.csv", index=False)
    rows.drop(columns="weight").to_csv("less.csv", index=False)
    rows.assign(height=[*rows["height"][:-1], np.inf]).to_csv("infinite.csv", index=False)
    (tmp_path / "people.vae").write_bytes(model.read_bytes())
    ended = cli(*arguments, "--output", "new.csv")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("features", "people.csv"), "--model"),
        (("features", "--model", "people.vae"), "FILE"),
        (("features", "people.csv", "--model", "people.vae", "--output", "latents.xls"), ".parquet"),
        (("features", "people.csv", "--model", "people.vae", "--output", "people.csv"), "is also an input"),
        (("features", "people.csv", "--model", "people.vae", "--output", "people.vae"), "is also an input"),
        (("generate", "--rows", "3"), "--model"),
        (("generate", "--model", "people.vae"), "--rows"),
        (("generate", "--model", "people.vae", "--rows", "0"), "1"),
        (("generate", "--model", "people.vae", "--rows", "3", "--seed", "-1"), "0"),
        (("generate", "--model", "people.vae", "--rows", "3", "--output", "nowhere/new.csv"), "no folder nowhere"),
        (("generate", "--model", "people.vae", "--rows", "3", "--output", "people.vae"), "is also an input"),
        (("generate", "--model", "people.vae", "--rows", "3", "--output", "new.xls"), ".parquet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_ends_with_2_before_the_model_is_read(cli, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vae_anomaly.load", lambda *_, **__: pytest.fail("the model was read"))
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "people.vae").touch()
    ended = cli(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize(
    "command", [("features", "people.csv"), ("generate", "--rows", "3")], ids=lambda words: words[0]
)
def test_a_device_that_is_not_there_is_wrong_usage(cli, csv, model, monkeypatch, command):
    monkeypatch.chdir(csv.parent)
    ended = cli(*command, "--model", model, "--device", "quantum")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert "quantum" in ended.err


@pytest.mark.parametrize(
    "command", [("features", "people.csv"), ("generate", "--rows", "3")], ids=lambda words: words[0]
)
def test_a_closed_standard_output_asks_for_a_file(command):
    shell = [
        "bash",
        "-c",
        '"$@" >&-',
        "bash",
        sys.executable,
        "-m",
        "vae_anomaly_cli",
        *command,
        "--model",
        "people.vae",
    ]
    ended = subprocess.run(shell, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "error: Standard output is closed; name a file with --output.\n"
