"""``vae-anomaly plot`` and ``traverse``: pictures of a model, and its traversals as a table."""

import io
import sys

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, load, plots
from vae_anomaly_cli.groups import Reading, option_names

TABLES = {"latents", "reconstructions", "scores", "reasons"}  # pictures that cannot do without a table
NAMES = ("scores", "reasons", "history", "latents", "samples", "reconstructions", "traversal")


def words_of(name: str, table: object) -> tuple[object, ...]:
    return ("plot", name, *([table] if name in TABLES else []))


@pytest.fixture(scope="module")
def autoencoder(csv, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "plain.vae"
    VAEDetector(variational=False, max_iter=5, random_state=0).fit(pd.read_csv(csv)).save(path)
    return path


class Calls(list):
    """Name, arguments and options of each call, and beside them the detectors."""

    def __init__(self):
        super().__init__()
        self.detectors = []


@pytest.fixture
def drawn(monkeypatch):
    """What the commands hand to the plotting functions: name, detector, arguments and options of each call."""
    calls = Calls()

    def spy(name):
        plot = getattr(plots, name)

        def call(detector, *arguments, **options):
            calls.append((name, arguments, options))
            calls.detectors.append(detector)
            return plot(detector, *arguments, **options)

        monkeypatch.setattr(plots, name, call, raising=False)

    for name in NAMES:
        spy(f"plot_{name}")
    return calls


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_written_and_reported(cli, csv, model, tmp_path, name):
    target = tmp_path / "picture.png"
    ended = cli(*words_of(name, csv), "--model", model, "--output", target)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith(f"{target}: ")
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_command_writes_the_same_bytes(cli, csv, model, tmp_path, name):
    for target in ("a.svg", "b.svg"):
        assert cli(*words_of(name, csv), "--model", model, "--output", tmp_path / target, "--quiet").err == ""
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_without_a_model_scores_and_reasons_are_of_one_fitted_to_the_file(cli, csv, tmp_path, drawn):
    assert cli("plot", "scores", csv, "--seed", 3, "--output", tmp_path / "scores.png").status == 0
    detector = VAEDetector(random_state=3).fit(pd.read_csv(csv))
    (_, (frame,), _), *_ = drawn
    expected = detector.anomaly_score(pd.read_csv(csv))
    np.testing.assert_allclose(drawn.detectors[0].anomaly_score(frame), expected, rtol=1e-6)


def test_reasons_are_of_the_row_asked_for_and_else_of_the_most_anomalous(cli, csv, model, tmp_path, drawn):
    command = ("plot", "reasons", csv, "--model", model, "--output", tmp_path / "a.png")
    rows = pd.read_csv(csv)
    worst = int(load(model).anomaly_score(rows).argmax())
    for number, asked in ((7, ("--row", 7)), (worst + 1, ())):
        assert cli(*command, *asked).err == f"{tmp_path / 'a.png'}: reasons of row {number}.\n"
        (row,) = drawn[-1][1]
        pd.testing.assert_frame_equal(row, rows.iloc[[number - 1]].set_axis([number]), check_dtype=False)


def test_a_row_that_the_file_lacks_is_refused(cli, csv, model, tmp_path):
    ended = cli("plot", "reasons", csv, "--model", model, "--row", 41, "--output", tmp_path / "a.png")
    assert ended.status == 1
    assert "There is no row 41; the rows of the table are numbered 1 to 40." in ended.err
    assert not (tmp_path / "a.png").exists()


def test_latents_are_those_of_the_file_in_the_colours_asked_for(cli, named_csv, model, tmp_path, drawn):
    command = ("plot", "latents", named_csv, "--model", model, "--output", tmp_path / "a.png")
    assert cli(*command).status == 0
    ended = cli(*command, "--color", "name")
    (_, (frame,), plain), (_, _, coloured) = drawn
    pd.testing.assert_frame_equal(frame, pd.read_csv(named_csv), check_dtype=False)
    assert (plain, coloured) == ({"color": None}, {"color": "name"})
    assert ended.err == f"{tmp_path / 'a.png'}: latent means of 40 rows.\n"  # and no warning about the column


def test_samples_are_compared_with_the_file_if_there_is_one(cli, csv, model, tmp_path, drawn):
    command = ("plot", "samples", "--model", model, "--output", tmp_path / "a.png")
    assert cli(*command).status == 0
    assert cli(*command, csv, "--rows", 7, "--seed", 5).status == 0
    (_, (none,), first), (_, (frame,), second) = drawn
    assert none is None
    assert len(frame) == 40
    assert first == {"n_samples": None, "random_state": 0}
    assert second == {"n_samples": 7, "random_state": 5}


def test_traversals_have_the_requested_latents(cli, model, tmp_path, drawn):
    for words in (("plot", "traversal"), ("traverse",)):
        command = (*words, "--model", model, "--output", tmp_path / "a.png")
        assert cli(*command).status == 0
        assert cli(*command, "--dimension", 2, "--dimension", 0, "--span", 1.5).status == 0
    assert [options for _, _, options in drawn] == 2 * [
        {"dimensions": None, "span": 3.0},
        {"dimensions": [2, 0], "span": 1.5},
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_traversals_are_written_as_a_table(cli, model, tmp_path, suffix):
    target = tmp_path / f"traversal{suffix}"
    command = ("traverse", "--model", model, "--output", target)
    ended = cli(*command, "--dimension", 2, "--dimension", 0, "--span", 2)
    written = pd.read_csv(target) if suffix == ".csv" else pd.read_parquet(target)
    detector = load(model, device="cpu")
    assert list(written.columns) == ["latent", "position", *detector.schema_.names]
    assert list(written["latent"].unique()) == [2, 0]
    for latent, steps in written.groupby("latent"):
        expected = detector.traverse(latent, span=2)
        np.testing.assert_allclose(steps["position"], expected.index)
        pd.testing.assert_frame_equal(
            steps.drop(columns=["latent", "position"]).reset_index(drop=True),
            expected.reset_index(drop=True),
            check_dtype=suffix != ".csv",
        )
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{target}: 22 rows written, 11 along each latent.\n"


def test_traversals_go_to_standard_output_along_the_active_latents(cli, model):
    named, dash = (cli("traverse", "--model", model, *more) for more in ((), ("--output", "-")))
    written, figures = pd.read_csv(io.StringIO(named.out)), load(model, device="cpu").latents_.reset_index(drop=True)
    ordered = figures.sort_values("kl", ascending=False)
    assert list(written["latent"].unique()) == list(ordered.index[ordered["active"]][:6])
    assert (named.status, named.err) == (0, "")
    assert named == dash


def test_a_column_named_like_an_output_column_is_an_error(cli, tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["position", "x"])
    VAEDetector(max_iter=2, random_state=0).fit(table).save(tmp_path / "clash.vae")
    ended = cli("traverse", "--model", tmp_path / "clash.vae")
    assert (ended.status, ended.out) == (1, "")
    assert "Column 'position' of the model is also an output column. Write a picture instead." in ended.err
    assert cli("traverse", "--model", tmp_path / "clash.vae", "--output", tmp_path / "a.png").status == 0


def test_a_table_of_traversals_needs_no_matplotlib_and_a_picture_names_what_it_needs(cli, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli("traverse", "--model", model, "--output", tmp_path / "traversal.csv").status == 0
    ended = cli("plot", "history", "--model", model, "--output", tmp_path / "a.png")
    assert ended.status == 1
    assert 'pip install "vae-anomaly[plots]"' in ended.err
    assert len(ended.err.splitlines()) == 1


def test_letters_that_the_font_lacks_are_one_line(cli, tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["価格", "重量"])
    VAEDetector(max_iter=2, random_state=0).fit(table).save(tmp_path / "model.vae")
    ended = cli("plot", "traversal", "--model", tmp_path / "model.vae", "--output", tmp_path / "a.png")
    assert ended.status == 0
    message, written = ended.err.splitlines()
    assert message.startswith("warning: The font of the figure lacks letters")
    assert written.startswith(f"{tmp_path / 'a.png'}: ")


def test_standard_input_and_its_encoding_are_read(cli, csv, model, tmp_path, monkeypatch, drawn):
    latin = pd.read_csv(csv).assign(place="Orléans").to_csv(index=False).encode("latin-1")
    for name in ("latents", "samples", "reconstructions"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(latin)))
        command = ("plot", name, "-", "--model", model, "--output", tmp_path / "a.png", "--encoding", "latin-1")
        assert cli(*command).status == 0
        assert set(drawn[-1][1][0]["place"]) == {"Orléans"}


def test_a_plain_autoencoder_is_drawn_but_for_its_samples(cli, csv, autoencoder, tmp_path):
    for name in ("history", "latents", "reconstructions", "traversal"):
        assert cli(*words_of(name, csv), "--model", autoencoder, "--output", tmp_path / f"{name}.png").status == 0
    (tmp_path / "samples.png").write_text("old")
    ended = cli("plot", "samples", "--model", autoencoder, "--output", tmp_path / "samples.png")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"error: {autoencoder}: A plain autoencoder (variational=False) has no density to draw from. "
        "Fit with variational=True.\n"
    )
    assert (tmp_path / "samples.png").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plot", "latents", "nosuch.csv"), "There is no file 'nosuch.csv'"),
        (
            ("plot", "latents", "people.csv", "--color", "hieght"),
            "people.csv: There is no column 'hieght' for --color. Did you mean 'height'?",
        ),
        (("plot", "samples", "less.csv"), "less.csv: Columns of the fit that the table lacks: 'weight'"),
        (("plot", "reconstructions", "less.csv"), "less.csv: Columns of the fit that the table lacks: 'weight'"),
        (("plot", "traversal", "--dimension", "99"), "people.vae: There is no latent 99"),
        (("traverse", "--dimension", "99"), "people.vae: There is no latent 99"),
        (("plot", "history", "--model", "nosuch.vae"), "nosuch.vae"),
        (("plot", "history", "--model", "people.csv"), "people.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_sentence_that_names_the_file(cli, csv, model, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    rows = pd.read_csv(csv)
    rows.to_csv("people.csv", index=False)
    rows.drop(columns="weight").to_csv("less.csv", index=False)
    (tmp_path / "people.vae").write_bytes(model.read_bytes())
    with_model = arguments if "--model" in arguments else (*arguments, "--model", "people.vae")
    ended = cli(*with_model, "--output", "new.png")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err
    assert not (tmp_path / "new.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((words_of(name, "people.csv"), "--output") for name in NAMES),
        *(((*words_of(name, "people.csv"), "--output", "a.jpg"), "PNG, SVG or PDF") for name in NAMES),
        *(((*words_of(name, "people.csv"), "--output", "nowhere/a.png"), "no folder nowhere") for name in NAMES),
        (("plot", "history", "--output", "-"), "This command writes a file"),
        (("plot", "latents", "--output", "a.png"), "FILE"),
        (("plot", "samples", "people.csv", "--output", "people.csv"), "is also an input"),
        (("plot", "samples", "--output", "a.png", "--rows", "0"), "1"),
        (("plot", "traversal", "--output", "a.png", "--dimension", "-1"), "0"),
        (("plot", "traversal", "--output", "a.png", "--span", "nan"), "--span"),
        (("traverse", "--span", "inf"), "not finite"),
        (("traverse", "--span", "-1"), "0"),
        (("traverse", "--output", "a.jpg"), ".parquet"),
        (("traverse", "--output", "nowhere/a.png"), "no folder nowhere"),
        (("traverse", "--output", "people.vae"), "is also an input"),
        (("plot", "nothing"), "nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_ends_with_2_before_anything_is_read(cli, csv, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vae_anomaly.load", lambda *_, **__: pytest.fail("the model was read"))
    monkeypatch.setattr("vae_anomaly.read_table", lambda *_, **__: pytest.fail("the table was read"))
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "people.vae").touch()
    ended = cli(*arguments, *([] if arguments[-1] == "nothing" else ["--model", "people.vae"]))
    assert (ended.status, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize(
    "command", [*(words_of(name, "people.csv") for name in NAMES if name != "history"), ("traverse",)], ids=str
)
def test_a_device_that_is_not_there_is_wrong_usage(cli, csv, model, monkeypatch, tmp_path, command):
    monkeypatch.chdir(csv.parent)
    ended = cli(*command, "--model", model, "--device", "quantum", "--output", tmp_path / "a.png")
    assert (ended.status, ended.out) == (2, "")
    assert "quantum" in ended.err


@pytest.mark.parametrize(
    "given",
    [("--encoding", "latin-1"), ("--missing", "?"), ("--table", "a"), ("--query", "SELECT 1"), ("--decimal", ",")]
    + [("--thousands", "."), ("--dayfirst",), ("--monthfirst",)],
)
def test_options_of_a_file_are_refused_where_there_is_none(cli, model, tmp_path, given):
    """Before, those that came later did nothing."""
    ended = cli("plot", "samples", "--model", model, "--output", tmp_path / "a.png", *given)
    assert ended.status == 2
    assert "it applies to FILE, and there is none" in " ".join(ended.err.replace("│", "").split())


def test_every_option_of_reading_is_named():
    names = ["--encoding", "--missing", "--table", "--query", "--decimal", "--thousands", "--dayfirst or --monthfirst"]
    assert [*option_names(Reading).values()] == names
