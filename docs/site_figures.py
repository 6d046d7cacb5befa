"""Pictures of the pages on how it works, drawn at build time by the package itself."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_anomaly import VAEDetector
from vae_anomaly.model.objectives import ELBO
from vae_anomaly.plots import image_grid, plot_history, plot_samples, plot_traversal
from vae_anomaly.plots.figures import ACCENT, LEVELS, MEDIUM, MODEL, QUIET, TABLE, new_figure, style_axes
from vae_anomaly.training.trainer import FenceTrimming

WIDE, SHAPE = 7.0, (1, 8, 8)
PENGUINS = Path(__file__).parents[1] / "examples" / "penguins.csv"


def write_all(folder: Path) -> None:
    """Draw the pictures that are missing below ``folder``: twice as many pixels as they take on a page."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in FIGURES:
        path = folder / f"{draw.__name__}.png"
        if not path.exists():
            draw().savefig(path, dpi=200)


def figures_in_variables(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Show the figures that a part of an example has made: those of our plots are not known to ``pyplot``."""
    from sphinx_gallery.scrapers import figure_rst

    shown = gallery_conf.setdefault("shown_figures", [])
    values = [*block_vars["example_globals"].values()]
    figures = [value for value in values if isinstance(value, Figure) and not any(value is old for old in shown)]
    paths = []
    for figure in {id(figure): figure for figure in figures}.values():
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=200)
        shown.append(figure)
        paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 digits of 8 x 8 pixels from 0 to 1, and what they are."""
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels


@cache
def penguins() -> pd.DataFrame:
    """The measured penguins."""
    return pd.read_csv(PENGUINS).dropna().reset_index(drop=True)


def encoder(n_components: int, **parameters: Any) -> VAEDetector:
    """A model of the digits whose purpose is the latents."""
    chosen = {"purpose": "representation", "image_shape": SHAPE, "random_state": 0, **parameters}
    return _fitted(n_components, tuple(sorted(chosen.items())))


@cache
def _fitted(n_components: int, parameters: tuple[tuple[str, Any], ...]) -> VAEDetector:
    return VAEDetector(n_components=n_components, **dict(parameters)).fit(digits()[0])


@cache
def features_of_penguins() -> VAEDetector:
    """A model of the penguins whose purpose is the latents."""
    return VAEDetector(purpose="representation", random_state=0).fit(penguins())


@cache
def orders() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders, intact and with three wrong cells in the rows 100, 200 and 300."""
    rng = np.random.default_rng(0)
    items, country = rng.integers(1, 9, 600), rng.choice(["DE", "FR", "IT"], 600, p=[0.5, 0.3, 0.2])
    price = rng.choice([4.9, 9.9, 14.9], 600)
    net = items * price
    rate = pd.Series(country).map({"DE": 0.19, "FR": 0.20, "IT": 0.22}).to_numpy()
    weight = items * (0.2 + 0.05 * price) + rng.normal(0, 0.05, 600)
    table = pd.DataFrame(
        {"country": country, "items": items, "price": price, "net": net, "tax": (net * rate).round(2), "weight": weight}
    ).round(2)
    wrong = table.copy()
    wrong.loc[100, "tax"] = 0.0
    wrong.loc[200, "weight"] *= 10
    wrong.loc[300, "country"] = "IT" if wrong.loc[300, "country"] != "IT" else "DE"
    return table, wrong


def autoencoder() -> Figure:
    """Original, code, reconstruction and squared error of five digits, the last one turned upside down."""
    pixels, labels = digits()
    model = encoder(8, variational=False)
    rows = pixels[[int(np.flatnonzero(labels == digit)[3]) for digit in (0, 2, 3, 6, 7)]].copy()
    rows[-1] = rows[-1].reshape(8, 8)[::-1].ravel()
    codes, expected = model.transform(rows), model.reconstruct(rows)
    figure = new_figure("", 5.2, WIDE)
    axes = figure.subplots(4, 5, height_ratios=[1, 0.7, 1, 1])
    names = ["row: 64 pixels", "code: 8 numbers", "reconstruction", "squared error"]
    for column, line in enumerate(axes.T):
        error = (rows[column] - expected[column]) ** 2
        for panel, image in zip(line[[0, 2, 3]], (rows[column], expected[column], error), strict=True):
            colours = "magma" if image is error else "gray"
            panel.imshow(image.reshape(8, 8), cmap=colours, vmin=0, vmax=0.5 if image is error else 1)
            panel.set(xticks=[], yticks=[])
        line[1].bar(range(8), codes[column], color=MODEL)
        line[1].set(xticks=[], yticks=[], ylim=(-abs(codes).max(), abs(codes).max()))
        line[3].set_xlabel(f"sum {error.sum():.1f}", color=ACCENT if column == 4 else "black")
    for panel, name in zip(axes[:, 0], names, strict=True):
        panel.set_ylabel(name, fontsize=MEDIUM)
    axes[0, 4].set_title("a 7, upside down", fontsize=MEDIUM, color=ACCENT)
    return figure


def classify() -> Figure:
    """Two numbers of the code of each digit, and what a classifier gets out of codes of several sizes."""
    pixels, labels = digits()
    figure = new_figure("", 3.4, WIDE)
    left, right = figure.subplots(1, 2)
    codes = encoder(2, variational=False).transform(pixels)
    for digit in range(10):
        of_digit = codes[labels == digit]
        left.scatter(*of_digit.T, s=2, color=f"C{digit}")
        left.text(*np.median(of_digit, 0), str(digit), fontsize=12, weight="bold", ha="center", va="center")
    left.set(xticks=[], yticks=[])
    left.set_title("codes of 2 numbers", fontsize=MEDIUM, loc="left")
    sizes = [2, 4, 8, 16]
    found = {
        "autoencoder": [_accuracy(encoder(size, variational=False).transform(pixels)) for size in sizes],
        "VAE": [_accuracy(encoder(size).transform(pixels)) for size in sizes],
        "principal components": [_accuracy(PCA(size, random_state=0).fit_transform(pixels)) for size in sizes],
    }
    for (name, accuracies), colour in zip(found.items(), (ACCENT, MODEL, QUIET), strict=True):
        right.plot(sizes, accuracies, "o-", color=colour, label=name)
    right.axhline(_accuracy(pixels), color="black", linewidth=1, linestyle=":", label="all 64 pixels")
    style_axes(right)
    right.set_xscale("log", base=2)
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.set_xlabel("numbers in the code", fontsize=MEDIUM)
    right.set_title("digits classified correctly", fontsize=MEDIUM, loc="left")
    right.legend(fontsize=MEDIUM, frameon=False)
    return figure


def _accuracy(features: np.ndarray) -> float:
    """Fraction of the second half of the digits that logistic regression, trained on the first, gets right."""
    labels = digits()[1]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(model.fit(features[:900], labels[:900]).score(features[900:], labels[900:]))


def plane() -> Figure:
    """Where the codes of digits lie, and what points between them decode to, without and with a prior."""
    pixels, labels = digits()
    models = {"autoencoder": encoder(2, variational=False), "VAE": encoder(2, prior="gaussian")}
    figure = new_figure("", 6.6, WIDE)
    axes = figure.subplots(2, 2)
    for (scatter, picture), (name, model) in zip(axes, models.items(), strict=True):
        codes = model.transform(pixels)
        for digit in range(10):
            scatter.scatter(*codes[labels == digit].T, s=2, color=f"C{digit}")
        low, high = (codes.min(0), codes.max(0)) if name == "autoencoder" else ((-2.5, -2.5), (2.5, 2.5))
        across, up = np.meshgrid(np.linspace(low[0], high[0], 12), np.linspace(high[1], low[1], 12))
        images = model.inverse_transform(np.stack([across.ravel(), up.ravel()], 1)).reshape(12, 12, 8, 8)
        picture.imshow(images.transpose(0, 2, 1, 3).reshape(96, 96), cmap="gray", vmin=0, vmax=1)
        picture.set(xticks=[], yticks=[])
        style_axes(scatter, 5)
        if name == "VAE":
            turn = np.linspace(0, 2 * np.pi, 100)
            for radius in (1, 2):
                scatter.plot(radius * np.cos(turn), radius * np.sin(turn), color="black", linewidth=1)
        scatter.set_title(f"{name}: latents of the digits", fontsize=MEDIUM, loc="left")
        picture.set_title("what a grid of latents decodes to", fontsize=MEDIUM, loc="left")
    return figure


def posteriors() -> Figure:
    """Posteriors of the penguins in two latents, and the prior."""
    table = penguins()
    model = VAEDetector(purpose="representation", n_components=2, random_state=0).fit(table)
    mean, variance = model.model_.scorer.posteriors(model.model_.encode(table))
    figure = new_figure("", 3.8, 5.4)
    axes = figure.subplots()
    for colour, species in zip(LEVELS, ("Adelie", "Chinstrap", "Gentoo"), strict=False):
        rows = np.flatnonzero(table["species"] == species)
        for row in rows:
            width, height = 2 * np.sqrt(variance[0, row])
            axes.add_patch(Ellipse(mean[0, row], width, height, color=colour, alpha=0.25, linewidth=0))
        axes.scatter(*mean[0, rows].T, s=3, color=colour, label=species)
    turn = np.linspace(0, 2 * np.pi, 100)
    for radius in (1, 2):
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="black", linewidth=1)
    style_axes(axes, 5)
    axes.set_aspect("equal")
    axes.set_xlabel("first latent", fontsize=MEDIUM)
    axes.set_ylabel("second latent", fontsize=MEDIUM)
    figure.legend(fontsize=MEDIUM, frameon=False, loc="outside right upper")
    return figure


def reparameterisation() -> Figure:
    """How a draw becomes a latent, and the gradients that this gives, compared with those of the score function."""
    rng = np.random.default_rng(0)
    figure = new_figure("", 3.2, WIDE)
    left, right = figure.subplots(1, 2)
    draws, mean, deviation = rng.normal(size=25), 2.0, 0.5
    for draw in draws:
        left.plot([draw, mean + deviation * draw], [1, 0], color=TABLE, linewidth=0.8)
    left.scatter(draws, np.ones(25), color=QUIET, s=14)
    left.scatter(mean + deviation * draws, np.zeros(25), color=MODEL, s=14)
    left.set_yticks([0, 1], ["z = μ + σ ε", "ε"])
    style_axes(left, 5)
    left.set_yticks([0, 1], ["z = μ + σε", "ε"], fontsize=MEDIUM)
    left.set_title("μ = 2, σ = 0.5", fontsize=MEDIUM, loc="left")
    draws = rng.normal(size=(4000, 2))
    z = mean + deviation * draws
    through_z = (-2 * (z - 1)).mean(1)  # of f(z) = -(z - 1)^2
    score_function = (-((z - 1) ** 2) * draws / deviation).mean(1)
    bins = np.linspace(-9, 5, 57)
    right.hist(score_function, bins, color=TABLE, label="score function")
    right.hist(through_z, bins, color=MODEL, alpha=0.8, label="reparameterised")
    right.axvline(-2 * (mean - 1), color="black", linewidth=1, linestyle=":", label="exact")
    right.set_yticks([])
    style_axes(right, 5)
    right.set_title("gradients in μ from two draws", fontsize=MEDIUM, loc="left")
    right.legend(fontsize=MEDIUM, frameon=False)
    return figure


def terms() -> Figure:
    """The three terms of the ELBO of four penguins, of which the last two are wrong."""
    table, model = penguins(), features_of_penguins()
    rows = table.iloc[[0, 200, 0, 200]].reset_index(drop=True)
    rows.loc[2, "body_mass_g"], rows.loc[3, "sex"] = 375.0, "male" if rows.loc[3, "sex"] == "female" else "female"
    names = ["a penguin", "another", "the first, mass\na digit short", "the second,\nother sex"]
    scorer, x = model.model_.scorer, model.model_.encode(rows)
    inputs = scorer.inputs(x)
    fit = ELBO().terms(*inputs).cells.sum(-1).mean(0).numpy()
    mean, variance = (part[0] for part in scorer.posteriors(x))
    constant = np.log(2 * np.pi)
    prior = -0.5 * (constant + mean**2 + variance).sum(1)
    entropy = 0.5 * (1 + constant + np.log(variance)).sum(1)
    assert np.allclose(fit + prior + entropy, ELBO().score(*inputs).mean(0).numpy())
    figure = new_figure("", 3.4, WIDE)
    axes = figure.subplots(1, 4, sharey=True)
    labels = ["reconstruction", "prior", "entropy", "ELBO"]
    for panel, name, *values in zip(axes, names, fit, prior, entropy, fit + prior + entropy, strict=True):
        panel.bar(range(4), values, color=[MODEL, LEVELS[1], LEVELS[2], "black"])
        for place, value in enumerate(values):
            panel.text(place, value, f"{value:.0f}", ha="center", va="bottom" if value > 0 else "top", fontsize=8)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_yscale("symlog", linthresh=20)
        style_axes(panel)
        panel.set_yscale("symlog", linthresh=20)
        panel.set_xticks(range(4), labels, rotation=90, fontsize=8)
        panel.set_yticks([])
        panel.margins(y=0.15)
        panel.set_title(name, fontsize=MEDIUM, loc="left")
    axes[0].set_ylabel("nats", fontsize=MEDIUM)
    return figure


def history() -> Figure:
    """The terms of the ELBO during training."""
    return plot_history(features_of_penguins())


def new_digits() -> Figure:
    """Digits that the model draws, above the real ones that are nearest to them."""
    pixels, model = digits()[0], encoder(16)
    drawn = model.sample(12, random_state=3)
    near = pixels[((drawn[:, None] - pixels[None]) ** 2).sum(-1).argmin(1)]
    return image_grid(np.concatenate([drawn, near]), SHAPE, 12, rows=["drawn", "nearest\nreal one"])


def new_penguins() -> Figure:
    """Columns of penguins that the model draws, compared with the real ones."""
    return plot_samples(features_of_penguins(), penguins(), random_state=0)


def walk_tables() -> Figure:
    """Expected penguins along two latents."""
    return plot_traversal(features_of_penguins(), dimensions=_largest(features_of_penguins(), 2))


def walk_images() -> Figure:
    """Expected digits along six latents."""
    model = encoder(10, prior="gaussian")
    return plot_traversal(model, dimensions=_largest(model, 6))


def _largest(model: VAEDetector, count: int) -> list[int]:
    """The latents that carry most."""
    return [int(latent) for latent in np.argsort(-model.latents_["kl"].to_numpy())[:count]]


def priors() -> Figure:
    """Anomaly scores over the plane of a table of two columns, by prior."""
    x = make_moons(600, noise=0.06, random_state=0)[0]
    across, up = np.meshgrid(np.linspace(-1.8, 2.8, 90), np.linspace(-1.4, 1.9, 70))
    grid = np.stack([across.ravel(), up.ravel()], 1)
    figure = new_figure("", 2.8, WIDE)
    for axes, prior in zip(figure.subplots(1, 2), ("gaussian", "exemplar"), strict=True):
        model = VAEDetector(novelty=True, prior=prior, random_state=0).fit(x)
        scores = model.anomaly_score(grid).reshape(across.shape)
        axes.contourf(across, up, scores, levels=np.linspace(scores.min(), scores.min() + 12, 13), cmap="Blues_r")
        axes.contour(across, up, scores, levels=[-model.offset_], colors=ACCENT, linewidths=1.5)
        axes.scatter(*x.T, s=1, color="black")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f'prior="{prior}"', fontsize=MEDIUM, loc="left")
    return figure


def trimming() -> Figure:
    """A batch of a dirty table by the ELBO of its rows early in training, and which of them count."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(950, 3))
    clean = factors @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(950, 8))
    dirty = 2 * rng.normal(size=(50, 8)) * clean.std(0)
    model = VAEDetector(max_iter=60, random_state=0).fit(np.concatenate([clean, dirty]))
    elbo = model.score_samples(np.concatenate([clean, dirty]))
    kept = FenceTrimming().weights(torch.as_tensor(elbo)[None])[0].numpy() > 0
    is_dirty = np.arange(1000) >= 950
    figure = new_figure("", 3.0, WIDE)
    axes = figure.subplots()
    elbo = np.clip(elbo, -60, None)
    bins = np.linspace(-60, elbo.max(), 60)
    axes.hist([elbo[~is_dirty], elbo[is_dirty]], bins, stacked=True, color=[TABLE, ACCENT])
    axes.axvline(elbo[kept].min(), color="black", linewidth=1)
    counts = f"left out: {(~kept & is_dirty).sum()} of 50 wrong and {(~kept & ~is_dirty).sum()} of 950 right rows"
    axes.set_title(counts, fontsize=MEDIUM, loc="left")
    axes.set_xlabel("ELBO in nats", fontsize=MEDIUM)
    axes.set_ylabel("rows", fontsize=MEDIUM)
    axes.legend(["fence", "right rows", "wrong rows"], fontsize=MEDIUM, frameon=False, loc="upper left")
    style_axes(axes, 5)
    return figure


def cells() -> Figure:
    """Nats that single cells add to the score: 28 penguins, of which three have one wrong cell each."""
    wrong = penguins().astype({"body_mass_g": float})
    wrong.loc[10, "body_mass_g"] /= 10
    wrong.loc[14, "bill_depth_mm"] += 20
    wrong.loc[24, "flipper_length_mm"] += 90
    fitted = VAEDetector(random_state=0).fit(wrong).model_
    excess = fitted.scorer.excess(fitted.encode(wrong.iloc[:28]))
    figure = new_figure("", 5.0, WIDE)
    axes = figure.subplots()
    image = axes.imshow(np.clip(excess, 0, 30), cmap="Reds", aspect="auto", vmin=0, vmax=30)
    names = [str(name).rpartition("_")[0] or name for name in wrong.columns]
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8)
    axes.set_yticks([10, 14, 24], ["row 10", "row 14", "row 24"], fontsize=MEDIUM)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 10, 20, 30])
    bar.ax.set_yticklabels(["0", "10", "20", "30 nats\nand more"], fontsize=MEDIUM)
    return figure


def calibration() -> Figure:
    """Scores of reference rows, the line, and the p-value of each score."""
    table = penguins()
    model = VAEDetector(novelty=True, random_state=0).fit(table[table["species"] == "Adelie"].drop(columns="species"))
    reference = -model.model_.reference.scores
    others = model.anomaly_score(table[table["species"] == "Gentoo"].drop(columns="species"))
    figure = new_figure("", 4.2, WIDE)
    upper, lower = figure.subplots(2, 1, sharex=True)
    bins = np.linspace(reference.min(), reference.max() + 25, 70)
    upper.hist(reference, bins, color=TABLE, label="Adelie, scored leave-one-out")
    upper.hist(np.clip(others, None, bins[-1] - 1e-6), bins, color=ACCENT, alpha=0.6, label="Gentoo, never seen")
    upper.axvline(-model.offset_, color="black", linewidth=1, label="line")
    upper.set_ylabel("rows", fontsize=MEDIUM)
    upper.legend(fontsize=MEDIUM, frameon=False)
    at = np.linspace(bins[0], bins[-1], 400)
    counts = (reference[None] >= at[:, None]).sum(1)
    lower.plot(at, (counts + 1) / (len(reference) + 1), color=MODEL, drawstyle="steps-post")
    lower.axhline(model.false_alarm_rate_, color="black", linewidth=1, linestyle=":")
    lower.axvline(-model.offset_, color="black", linewidth=1)
    lower.set_yscale("log")
    style_axes(upper, 5)
    lower.spines[["top", "right"]].set_visible(False)
    lower.tick_params(labelsize=8)
    lower.set_ylabel("p-value", fontsize=MEDIUM)
    lower.set_xlabel("anomaly score in nats", fontsize=MEDIUM)
    return figure


def reasons() -> Figure:
    """Surprise of each cell of one order whose tax is missing."""
    wrong = orders()[1]
    model = VAEDetector(random_state=0).fit(wrong)
    found = model.explain(wrong.iloc[[100]], long=True).iloc[::-1]
    figure = new_figure("", 2.8, WIDE)
    axes = figure.subplots()
    labels = [
        f"{cell.column} = {cell.value}" if cell.column != "(latent)" else "columns together"
        for cell in found.itertuples()
    ]
    axes.barh(range(len(labels)), found["surprise"], color=[ACCENT if text else TABLE for text in found["reason"]])
    for place, cell in enumerate(found.itertuples()):
        axes.text(max(cell.surprise, 0), place, f"  {cell.reason or ''}", va="center", fontsize=MEDIUM)
    axes.set_xlim(right=1.6 * found["surprise"].max())
    style_axes(axes, 5)
    axes.set_yticks(range(len(labels)), labels, fontsize=MEDIUM)
    axes.set_xlabel("surprise in nats", fontsize=MEDIUM)
    return figure


FIGURES: list[Callable[[], Figure]] = [
    autoencoder,
    classify,
    plane,
    posteriors,
    reparameterisation,
    terms,
    history,
    new_digits,
    new_penguins,
    walk_tables,
    walk_images,
    priors,
    trimming,
    cells,
    calibration,
    reasons,
]
