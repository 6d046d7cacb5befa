import os
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vae_anomaly import VAEDetector, plots
from vae_anomaly.errors import DataError, DataWarning, MissingExtraError
from vae_anomaly.plots import (
    plot_history,
    plot_latents,
    plot_reconstructions,
    plot_samples,
    plot_traversal,
    write_figure,
)

FIRST_BYTES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}
FIGURES = {
    "history": plot_history,
    "latents": lambda model: plot_latents(model, TABLE),
    "samples": lambda model: plot_samples(model, TABLE, random_state=0),
    "reconstructions": lambda model: plot_reconstructions(model, TABLE),
    "traversal": plot_traversal,
}
LONG = "a very long name that goes on and on and on with $ and $_and_^"
TABLE = pd.DataFrame(
    np.random.default_rng(0).normal(size=(60, 6)), columns=[f"{column} {LONG} {column}" for column in range(6)]
).assign(level=60 * [f"one level {LONG}"], other=30 * [f"first {LONG}", f"second {LONG}"])


@pytest.fixture(scope="module")
def awkward():
    return VAEDetector(purpose="representation", max_iter=20, random_state=0).fit(TABLE)


@pytest.mark.parametrize("suffix", FIRST_BYTES)
def test_the_suffix_decides_the_format(tmp_path, model, suffix):
    path = tmp_path / f"history{suffix}"
    write_figure(plot_history(model), path)
    assert path.read_bytes().startswith(FIRST_BYTES[suffix])
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_figure_is_the_same_bytes(tmp_path, of_numbers, numbers, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_figure(plot_latents(of_numbers, numbers), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", ["history.jpg", "history", "history.png.gz"])
def test_another_suffix_is_an_error_and_nothing_is_written(tmp_path, name):
    with pytest.raises(DataError, match=r"Choose \.png, \.svg or \.pdf"):
        write_figure(Figure(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    def fail(_self, file, **_):
        file.write(b"half")
        raise OSError(5, "Input/output error")

    (tmp_path / "a.png").write_text("old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_figure(Figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_letters_that_the_font_lacks_give_one_warning(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, "価格と重量")
    with pytest.warns(DataWarning, match="boxes in their place") as caught:
        write_figure(figure, tmp_path / "a.png")
    assert len(caught) == 1


def test_other_warnings_of_matplotlib_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: warnings.warn("something else", UserWarning, stacklevel=1))
    with pytest.warns(UserWarning, match="something else") as caught:
        write_figure(Figure(), tmp_path / "a.png")
    assert len(caught) == 1


def drawn_ticks(axis):
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
    return [label for label, position in labels if low <= position <= high]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_the_page_and_no_titles_touch(awkward, name):
    figure = FIGURES[name](awkward)
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    texts = [text for axes in figure.axes for text in (axes._left_title, axes.xaxis.label, axes.yaxis.label)]
    ticks = [text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in drawn_ticks(axis)]
    upright = [text for text in [*texts, *ticks, *figure.texts] if text.get_text() and text.get_rotation() in {0, 90}]
    boxes = [text.get_window_extent() for text in upright]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    overlaps = [(a, b) for index, a in enumerate(boxes) for b in boxes[:index] if a.padded(-1).overlaps(b.padded(-1))]
    assert overlaps == []


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_global_changes(awkward, name, tmp_path):
    settings, state = dict(mpl.rcParams), np.random.get_state()[1].tolist()  # noqa: NPY002 (the users' own stream)
    write_figure(FIGURES[name](awkward), tmp_path / "a.svg")
    assert dict(mpl.rcParams) == settings
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_pyplot_is_not_loaded():
    script = """
import sys
import numpy as np
from vae_anomaly import VAEDetector, plots
X = np.random.default_rng(0).normal(size=(30, 2))
model = VAEDetector(max_iter=2).fit(X)
plots.plot_history(model), plots.plot_latents(model, X), plots.plot_samples(model, X)
plots.plot_reconstructions(model, X), plots.plot_traversal(model)
print("matplotlib.pyplot" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "False\n"


@pytest.mark.parametrize("name", [*FIGURES, "grid"])
def test_without_matplotlib_the_command_that_installs_it_is_named(awkward, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw = FIGURES.get(name, lambda _: plots.image_grid(np.zeros((1, 1)), (1, 1, 1), 1))
    with pytest.raises(MissingExtraError, match=r'pip install "vae-anomaly\[plots\]"'):
        draw(awkward)


def test_names_are_resolved_lazily_and_listed():
    assert set(plots.__all__) <= set(dir(plots))
    for name in plots.__all__:
        assert callable(getattr(plots, name))
    with pytest.raises(AttributeError, match="no attribute 'plot_nothing'"):
        plots.plot_nothing  # noqa: B018
