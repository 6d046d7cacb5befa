"""Images on the command line: folders, image files and IDX files, where the other tests have tables."""

import gzip
import io
import json
import os
import struct
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vae_anomaly import VAEDetector, load, plots, read_images
from vae_anomaly_cli.inputs import holds_images
from vae_anomaly_cli.main import main

pytestmark = pytest.mark.usefixtures("_quick_fits")

ANOMALY = 17  # the negative of an image, counted from 1
SHAPE = (1, 8, 8)


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def said(ended) -> str:
    """An error without the frame that a terminal puts around it."""
    return " ".join(ended.err.replace("│", " ").split())


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([str(argument) for argument in arguments])


def save(folder, levels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(levels, 1):
        Image.fromarray(image).save(folder / f"{number:02}.png")


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """Forty gray images of 8 x 8: a bright column crosses a darker row; the anomalous one is a negative."""
    rng = np.random.default_rng(0)
    images = rng.normal(20, 8, (40, 8, 8))
    for number, image in enumerate(images):
        image[number % 4 + 2] += 120
        image[:, number % 3 + 2] += 180
    images[ANOMALY - 1] = 255 - images[ANOMALY - 1]
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def place(levels, tmp_path_factory):
    """Where the same images lie as a folder and as IDX files, and next to them a folder in colour."""
    place = tmp_path_factory.mktemp("images")
    save(place / "gray", levels)
    save(place / "colour", np.stack([levels, levels // 2, 255 - levels], axis=-1))
    idx = struct.pack(">4I", 0x803, *levels.shape) + levels.tobytes()
    (place / "plain.idx").write_bytes(idx)
    (place / "packed.bin").write_bytes(gzip.compress(idx))
    return place


@pytest.fixture
def _there(place, tmp_path, monkeypatch):
    """In a folder of its own, from which the images are named by short names."""
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def digits(place):
    path = place / "gray.vae"
    run("fit", place / "gray", "--output", path)
    return path


@pytest.fixture(scope="module")
def coloured(place):
    """A model of the images in colour, hardly fitted."""
    images = read_images(place / "colour")
    path = place / "colour.vae"
    VAEDetector(image_shape=images.shape, max_iter=5, random_state=0).fit(images.pixels).save(path)
    return path


def scores_in_order(text: str) -> np.ndarray:
    return table_of(text).sort_values("row")["anomaly_score"].to_numpy()


def test_images_update_a_model_of_images(cli, place, digits, tmp_path):
    ended = cli("update", place / "gray", "--model", digits, "--output", tmp_path / "new.vae")
    assert ended.status == 0
    assert "updated with 40 images; trained on 80 images" in ended.err
    assert load(tmp_path / "new.vae").n_samples_fit_ == 80


def test_fit_is_that_of_the_library(place, digits):
    images = read_images(place / "gray")
    same = VAEDetector(image_shape=images.shape, random_state=0).fit(images.pixels)
    fitted = load(digits)
    assert tuple(fitted.image_shape) == SHAPE
    assert fitted.offset_ == same.offset_
    np.testing.assert_array_equal(fitted.score_samples(images.pixels), same.score_samples(images.pixels))


@pytest.mark.usefixtures("_there")
def test_fit_reports_the_images(cli):
    ended = cli("fit", "plain.idx", "--output", "digits.vae")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == (
        "digits.vae: fitted to 40 images of 8 x 8 pixels (width x height) in gray. "
        "Use it with `vae-anomaly score FILE --model digits.vae`.\n"
    )


def test_score_ranks_images_by_the_names_of_their_files(cli, place, digits):
    ended = cli("score", place / "gray", "--model", digits, "--sort", "--digits", 17)
    images, detector = read_images(place / "gray"), load(digits)
    ranking = table_of(ended.out)
    assert (ended.status, ended.err) == (0, "")
    assert list(ranking.columns) == ["row", "image", "anomaly_score", "p_value", "severity", "is_anomaly"]
    assert (ranking["row"][0], ranking["image"][0]) == (ANOMALY, "17.png")
    assert ranking["anomaly_score"].is_monotonic_decreasing
    assert list(ranking["image"]) == [f"{row:02}.png" for row in ranking["row"]]
    ranking = ranking.sort_values("row")
    np.testing.assert_allclose(ranking["anomaly_score"], detector.anomaly_score(images.pixels), rtol=1e-9)
    np.testing.assert_array_equal(ranking["is_anomaly"], detector.predict(images.pixels) == -1)


def test_a_slash_at_the_end_and_subfolders_change_no_score(cli, place, levels, digits, tmp_path):
    save(tmp_path / "a" / "b", levels[:5])
    save(tmp_path / "a" / "c", levels[5:8])
    ranking = table_of(cli("score", f"{tmp_path}/a/", "--model", digits).out)
    whole = scores_in_order(cli("score", place / "gray", "--model", digits).out)
    assert list(ranking["image"]) == [f"b/0{n}.png" for n in range(1, 6)] + [f"c/0{n}.png" for n in range(1, 4)]
    np.testing.assert_allclose(ranking["anomaly_score"], whole[:8], rtol=1e-5)


@pytest.mark.parametrize("file", ["plain.idx", "packed.bin"])
def test_an_idx_file_has_the_scores_of_the_folder_and_numbers_for_names(cli, place, digits, file):
    written = cli("score", place / file, "--model", digits).out
    assert list(table_of(written)["image"]) == list(table_of(written)["row"])
    np.testing.assert_array_equal(
        scores_in_order(written), scores_in_order(cli("score", place / "gray", "--model", digits).out)
    )


@pytest.mark.parametrize("name", ["one.png", "one", "ONE.PNG"])
def test_one_image_is_scored_alone(cli, place, digits, tmp_path, name):
    (tmp_path / name).write_bytes((place / "gray" / "17.png").read_bytes())
    ranking = table_of(cli("score", tmp_path / name, "--model", digits).out)
    whole = scores_in_order(cli("score", place / "gray", "--model", digits).out)
    assert ranking[["row", "image"]].to_numpy().tolist() == [[1, name]]
    assert ranking["anomaly_score"][0] == pytest.approx(whole[ANOMALY - 1], rel=1e-5)


def test_score_alone_equals_fit_and_score(cli, place, digits):
    alone, apart = (cli("score", place / "plain.idx", *more).out for more in ((), ("--model", digits)))
    assert alone == apart


def test_a_terminal_shows_names_and_no_pixels(cli, place, digits, monkeypatch):
    monkeypatch.setattr("vae_anomaly_cli.commands.score.is_terminal", lambda _: True)
    ended = cli("score", place / "gray", "--model", digits, "--top", 3, "--false-alarm-rate", 0.1)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.out.splitlines() if "│" in line]
    pixels = read_images(place / "gray").pixels
    flagged = load(digits).detect(pixels, false_alarm_rate=0.1)["is_anomaly"].sum()
    assert [len(row) for row in rows] == [6, 6, 6]
    assert (rows[0][:2], rows[0][5]) == (["17", "17.png"], "yes")
    read, rule, *_ = ended.err.splitlines()
    assert read == f"{place / 'gray'}: 40 images read."
    assert rule.startswith(f"{flagged} of 40 images need a look. Images are flagged if at most ")
    assert "The most anomalous is 17.png.\nNext:\n  vae-anomaly report " in ended.err


def test_gray_images_are_scored_in_colour_by_a_model_in_colour(cli, place, coloured):
    written = cli("score", place / "gray", "--model", coloured).out
    pixels = read_images(place / "gray").pixels
    in_colour = np.repeat(pixels.reshape(-1, *SHAPE), 3, axis=1).reshape(40, -1)
    np.testing.assert_allclose(scores_in_order(written), load(coloured).anomaly_score(in_colour), rtol=1e-5)


def test_features_are_the_latent_means_with_image_names_in_order(cli, place, digits):
    ended, detector = cli("features", place / "gray", "--model", digits), load(digits)
    latents = table_of(ended.out)
    assert (ended.status, ended.err) == (0, "")
    assert list(latents.columns) == ["image", *detector.get_feature_names_out()]
    assert list(latents["image"]) == [f"{number:02}.png" for number in range(1, 41)]
    np.testing.assert_allclose(
        latents.iloc[:, 1:], detector.transform(read_images(place / "gray").pixels), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("command", ["fit", "score", "features"])
def test_a_bad_image_is_an_error_or_left_out_with_a_warning(cli, place, levels, digits, tmp_path, command):
    save(tmp_path / "gray", levels[:12])
    (tmp_path / "gray" / "05.png").write_bytes(b"no picture")
    target = tmp_path / "written.csv"
    arguments = [command, tmp_path / "gray", "--output", target, *([] if command == "fit" else ["--model", digits])]
    strict = cli(*arguments)
    assert (strict.status, strict.out) == (1, "")
    assert strict.err.startswith("error: '05.png' in ")
    assert strict.err.endswith("(--skip-bad).\n")
    assert len(strict.err.splitlines()) == 1
    assert not target.exists()
    lenient = cli(*arguments, "--skip-bad")
    assert (lenient.status, lenient.out) == (0, "")
    assert lenient.err.startswith("warning: Images left out: '05.png' (")
    if command == "fit":
        assert load(target).n_samples_fit_ == 11
    else:
        names = pd.read_csv(target)["image"]
        assert sorted(names) == [f"{number:02}.png" for number in range(1, 13) if number != 5]
    assert cli(*arguments, "--skip-bad", "--quiet").err == ""


@pytest.mark.usefixtures("_there")
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("fit", "gray", "--output", "new.vae", "--exclude", "a"), "--exclude"),
        (("fit", "gray/01.png", "--output", "new.vae", "--encoding", "utf-8"), "--encoding"),
        (("score", "plain.idx", "--keep", "a"), "--keep"),
        (("score", "packed.bin", "--exclude", "a"), "--exclude"),
        (("score", "gray/", "--encoding", "latin-1"), "--encoding"),
        (("features", "gray", "--model", "gray.vae", "--keep", "a"), "--keep"),
        (("features", "gray", "--model", "gray.vae", "--encoding", "utf-8"), "--encoding"),
        (("fit", "plain.idx", "--output", "new.vae", "--skip-bad"), "--skip-bad"),
        (("score", "people.csv", "--skip-bad"), "--skip-bad"),
        (("score", "-", "--skip-bad"), "--skip-bad"),
        (("features", "gray/01.png", "--model", "gray.vae", "--skip-bad"), "--skip-bad"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_options_that_would_do_nothing_are_refused_before_anything_is_read(
    cli, csv, tmp_path, monkeypatch, arguments, option
):
    for reader in ("read_images", "read_table", "load"):
        monkeypatch.setattr(f"vae_anomaly.{reader}", lambda *_, **__: pytest.fail("something was read"))
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    ended = cli(*arguments)
    what = "is not a folder" if option == "--skip-bad" else "holds images"
    assert (ended.status, ended.out) == (2, "")
    assert f"{option}: it " in said(ended)
    assert f"{arguments[1]} {what}; leave it out." in said(ended)
    assert not (tmp_path / "new.vae").exists()


@pytest.mark.usefixtures("_there")
@pytest.mark.parametrize("command", ["score", "features"])
@pytest.mark.parametrize(
    ("file", "used", "message"),
    [
        (
            "wide",
            "gray.vae",
            "wide: These images have 9 x 6 pixels (width x height) in gray, and the model was fitted to "
            "40 images of 8 x 8 pixels (width x height) in gray. Convert them to that shape, or fit a model to them.",
        ),
        (
            "colour",
            "gray.vae",
            "colour: These images have 8 x 8 pixels (width x height) in colour, and the model was fitted to "
            "40 images of 8 x 8 pixels (width x height) in gray. Convert them to that shape, or fit a model to them.",
        ),
        (
            "images/",
            "people.vae",
            "images/: These are images, and the model was fitted to a table of 40 rows, 3 columns. Name a table.",
        ),
        (
            "people.csv",
            "gray.vae",
            "people.csv: This is a table, and the model was fitted to 40 images of 8 x 8 pixels (width x height) "
            "in gray. Name a folder of images, an image or an IDX file.",
        ),
        (
            "gray",
            "levels.vae",
            "gray: The model was fitted to pixels from 0 to 255, and images are read as pixels from 0 to 1. "
            "Fit a model to pixels of that range.",
        ),
    ],
    ids=lambda value: value.split(":")[0],
)
def test_a_model_of_something_else_is_one_sentence(
    cli, csv, model, digits, coloured, levels, tmp_path, command, file, used, message
):
    save(tmp_path / "wide", np.zeros((3, 6, 9), np.uint8))
    (tmp_path / "images").symlink_to(tmp_path / "gray")
    (tmp_path / "people.csv").write_bytes(csv.read_bytes())
    (tmp_path / "people.vae").write_bytes(model.read_bytes())
    if used == "levels.vae":
        numbers = levels.reshape(40, -1).astype(float)
        numbers[0, :2] = 0, 255
        VAEDetector(image_shape=SHAPE, max_iter=1).fit(numbers).save(used)
    (tmp_path / "gray.vae").unlink(missing_ok=True)
    (tmp_path / "gray.vae").symlink_to(digits)
    ended = cli(command, file, "--model", used, "--output", "new.csv")
    assert (ended.status, ended.out, ended.err) == (1, "", f"error: {message}\n")
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("shape", [(1, 8), (8, 1)])
def test_images_that_cannot_be_halved_are_one_sentence(cli, tmp_path, shape):
    save(tmp_path / "thin", np.zeros((12, *shape), np.uint8))
    ended = cli("fit", tmp_path / "thin", "--output", tmp_path / "thin.vae")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {tmp_path / 'thin'}: These images have {shape[1]} x {shape[0]} pixels")
    assert len(ended.err.splitlines()) == 1


def test_a_name_that_is_no_text_can_be_written(cli, levels, digits, tmp_path):
    save(tmp_path / "gray", levels[:3])
    (tmp_path / "gray" / "02.png").rename(tmp_path / "gray" / "\udcff.png")
    cli("score", tmp_path / "gray", "--model", digits, "--output", tmp_path / "scores.parquet")
    assert set(pd.read_parquet(tmp_path / "scores.parquet")["image"]) == {"01.png", "03.png", r"\udcff.png"}


@pytest.mark.parametrize(("name", "channels"), [("gray.vae", 1), ("colour.vae", 3)])
@pytest.mark.usefixtures("digits", "coloured")
def test_generate_draws_a_picture_of_images_side_by_side(cli, place, tmp_path, name, channels):
    target = tmp_path / "drawn.PNG"
    ended = cli("generate", "--model", place / name, "--rows", 5, "--seed", 4, "--output", target)
    drawn = load(place / name).sample(5, random_state=4).reshape(5, channels, 8, 8)
    picture = read_images(target)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{target}: 5 images written, drawn from {place / name}.\n"
    assert picture.shape == (channels, 2 + 2 * 10, 2 + 3 * 10)
    last = picture.pixels.reshape(picture.shape)[:, 12:20, 12:20]  # the fifth: second row, second column
    np.testing.assert_allclose(last, drawn[4], atol=0.5 / 255 + 1e-12)


def test_a_picture_is_as_bright_as_the_pixels_of_the_fit(cli, levels, tmp_path):
    model, target = tmp_path / "levels.vae", tmp_path / "drawn.png"
    detector = VAEDetector(image_shape=SHAPE, max_iter=1, random_state=0)
    detector.fit(levels.reshape(40, -1) * 10.0).save(model)
    cli("generate", "--model", model, "--rows", 1, "--output", target)
    inside = read_images(target).pixels.reshape(12, 12)[2:10, 2:10].ravel()
    (drawn,), brightest = detector.sample(1, random_state=0), levels.max() * 10.0
    np.testing.assert_allclose(inside, drawn / brightest, atol=0.5 / 255 + levels.min() / levels.max() + 1e-12)


def test_generate_writes_pixels_as_a_table(cli, digits):
    drawn = table_of(cli("generate", "--model", digits, "--rows", 3).out)
    assert list(drawn.columns) == [f"x{place}" for place in range(64)]
    np.testing.assert_allclose(drawn, load(digits).sample(3, random_state=0), rtol=1e-12)


def test_a_model_of_a_table_draws_no_picture(cli, model, tmp_path):
    ended = cli("generate", "--model", model, "--rows", 3, "--output", tmp_path / "drawn.png")
    assert (ended.status, ended.out) == (2, "")
    assert "--output: a .png shows images, and" in said(ended)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_not_written_where_it_would_hurt(cli, digits, monkeypatch):
    monkeypatch.setattr("vae_anomaly.load", lambda *_, **__: pytest.fail("the model was read"))
    ended = cli("generate", "--model", digits, "--rows", 3, "--output", "nowhere/drawn.png")
    assert ended.status == 2
    assert "There is no folder nowhere" in said(ended)


def test_info_describes_images(cli, digits):
    shown, facts = cli("info", digits).out, json.loads(cli("info", digits, "--json").out)
    assert (facts["rows"], facts["image_shape"], facts["pixel_range"]) == (40, [1, 8, 8], [0.0, 1.0])
    assert not {"columns", "left_out"} & facts.keys()
    assert "image_shape         1, 8, 8\n" in shown


@pytest.mark.parametrize("holds", ["images", "table"])
def test_the_purpose_is_the_detectors(cli, csv, levels, tmp_path, holds):
    save(tmp_path / "images", levels[:6, :4, :4])
    file, model = {"images": tmp_path / "images", "table": csv}[holds], tmp_path / "new.vae"
    ended = cli("fit", file, "--purpose", "representation", "--output", model)
    detector = load(model)
    assert ended.status == 0
    assert (detector.purpose, detector.n_estimators_) == ("representation", 1)
    assert json.loads(cli("info", model, "--json").out)["purpose"] == "representation"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"BMI,GIF,II*\n1,2,3\n", False),
        ("a.bin", b"\0\0\x08\x03", True),
        ("a.txt", "a,b\n1,2\n".encode("utf-32-be"), False),
        ("a.txt", b"\0\0\xfe\xff" + "a,b\n1,2\n".encode("utf-32-be"), False),
        ("a.gz", gzip.compress(b"\0\0\x08\x01", mtime=0), True),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0), False),
        ("a.gz", gzip.compress(b"\0\0\x08\x03", mtime=0)[:12], False),
        ("a", b"\x89PNG\r\n\x1a\n", True),
        ("a.dat", b"\xff\xd8\xff\xe0", True),
        ("a.BMP", b"", True),
        ("a.parquet", b"PAR1", False),
    ],
    ids=repr,
)
def test_images_are_known_by_content_and_suffix(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert holds_images(str(tmp_path / name)) is expected


def test_standard_input_is_a_table_even_next_to_a_folder_of_that_name(cli, csv, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").mkdir()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv.read_bytes())))
    assert cli("score", "-", "--model", model).out == cli("score", csv, "--model", model).out


def test_a_pipe_is_not_inspected_because_it_cannot_be_read_again(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not holds_images(str(tmp_path / "pipe"))


@pytest.fixture(scope="module")
def coded(place):
    """A model that represents the gray images, hardly fitted."""
    images = read_images(place / "gray")
    path = place / "coded.vae"
    detector = VAEDetector(purpose="representation", n_components=3, image_shape=images.shape, max_iter=5)
    detector.set_params(random_state=0).fit(images.pixels).save(path)
    return path


@pytest.fixture
def plotted(monkeypatch):
    """The rows that the plotting functions were handed, and the pictures that they drew, call by call."""
    calls = []

    def spy(name):
        plot = getattr(plots, name)

        def call(detector, rows=None, **options):
            figure = plot(detector, rows, **options) if rows is not None else plot(detector, **options)
            calls.append((rows, figure))
            return figure

        monkeypatch.setattr(plots, name, call, raising=False)

    for name in ("latents", "samples", "reconstructions", "traversal"):
        spy(f"plot_{name}")
    return calls


@pytest.mark.parametrize("file", ["gray", "plain.idx", "packed.bin"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latents", "latent means of 40 images."),
        ("samples", "samples of {model}."),
        ("reconstructions", "40 images and their reconstructions."),
    ],
)
def test_images_are_plotted_from_a_folder_and_from_idx_files(
    cli, place, levels, coded, tmp_path, plotted, file, name, message
):
    target = tmp_path / "picture.png"
    ended = cli("plot", name, place / file, "--model", coded, "--output", target)
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{target}: {message.format(model=coded)}\n"
    ((rows, _),) = plotted
    np.testing.assert_allclose(rows, levels.reshape(40, -1) / 255)
    assert target.read_bytes().startswith(b"\x89PNG")


def test_gray_images_are_plotted_with_a_model_of_colour(cli, place, coloured, tmp_path, plotted):
    assert (
        cli("plot", "reconstructions", place / "gray", "--model", coloured, "--output", tmp_path / "a.png").status == 0
    )
    assert plotted[0][0].shape == (40, 3 * 64)


def test_a_traversal_of_a_model_of_images_is_a_grid_of_decoded_images(cli, coded, tmp_path, plotted):
    for words in (("plot", "traversal"), ("traverse",)):
        target = tmp_path / f"{words[0]}.png"
        assert cli(*words, "--model", coded, "--dimension", 2, "--dimension", 0, "--output", target).status == 0
        assert target.exists()
        _, figure = plotted.pop()
        shown = np.stack([image.get_array() for image in figure.axes[0].get_images()])
        decoded = np.concatenate([load(coded).traverse(latent) for latent in (2, 0)])
        np.testing.assert_allclose(shown, decoded.reshape(22, 8, 8))


def test_images_that_cannot_be_read_are_left_out_of_a_picture_on_request(cli, levels, coded, tmp_path, plotted):
    save(tmp_path / "some", levels[:5])
    (tmp_path / "some" / "03.png").write_bytes(b"\x89PNG, but no more")
    command = ("plot", "latents", tmp_path / "some", "--model", coded, "--output", tmp_path / "a.png")
    ended = cli(*command)
    assert ended.status == 1
    assert "03.png" in ended.err
    assert cli(*command, "--skip-bad").status == 0
    np.testing.assert_allclose(plotted[0][0], levels[[0, 1, 3, 4]].reshape(4, -1) / 255)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("latents", "gray", "--color", "label"), "it applies to tables, and gray holds images; leave it out."),
        (("latents", "gray", "--encoding", "latin-1"), "it applies to tables, and gray holds images; leave it out."),
        (("reconstructions", "plain.idx", "--skip-bad"), "plain.idx is not a folder; leave it out."),
        (("samples", "--skip-bad"), "it applies to FILE, and there is none; leave it out."),
        (("samples", "--encoding", "latin-1"), "it applies to FILE, and there is none; leave it out."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("_there")
def test_options_without_a_meaning_are_wrong_usage_of_plot(cli, coded, arguments, words):
    ended = cli("plot", *arguments, "--model", coded, "--output", "new.png")
    assert (ended.status, ended.out) == (2, "")
    assert words in said(ended)


@pytest.mark.parametrize("name", ["latents", "samples", "reconstructions"])
def test_a_picture_of_a_table_by_a_model_of_images_is_one_sentence(cli, csv, model, place, coded, tmp_path, name):
    for file, used, words in ((csv, coded, "This is a table"), (place / "gray", model, "These are images")):
        ended = cli("plot", name, file, "--model", used, "--output", tmp_path / "a.png")
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith(f"error: {file}: {words}, and the model was fitted to ")
        assert not (tmp_path / "a.png").exists()
