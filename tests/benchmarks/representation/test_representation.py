import gzip
import struct
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer

from benchmarks.representation import __main__ as command
from benchmarks.representation.classify import (
    DIGIT_MEASURES,
    FEW_LABELS,
    LOGISTIC,
    NEIGHBOURS,
    PRINCIPAL,
    UNSCALED,
    ClassificationTask,
    PyODLatents,
    build_digits,
    evaluate_digits,
    evaluate_families,
    sample_rows,
)
from benchmarks.representation.imputation import FRACTION, ImputationTask, normal_rows, standardised
from benchmarks.representation.mnist import (
    COMPONENTS,
    DIGITS,
    Digits,
    DigitTask,
    PCAError,
    classifier_agreement,
    detection_auroc,
    read_digits,
    sample_linear,
    sample_real,
    train_and_score,
)
from benchmarks.representation.page import write_page
from benchmarks.representation.tasks import Chapter, Method, Result, halves
from benchmarks.shared.nsl_kdd import FAMILIES, families, one_hot
from benchmarks.shared.peers import OURS


@pytest.fixture
def digits(rng):
    """Ten well-separated groups of 40 rows, in 40 columns."""
    labels = np.repeat(np.arange(10), 40)
    return Digits(np.eye(10).repeat(4, axis=1)[labels] * 5 + rng.normal(scale=0.1, size=(400, 40)), labels)


class Spy(FunctionTransformer):
    """Transformer that returns its rows, and records the rows and labels of its fit."""

    def fit(self, X, y=None):
        self.seen, self.labels = X, y
        return self


def rows_of(table):
    return {tuple(row) for row in table}


def test_halves_are_disjoint_and_stratified_by_label(digits):
    split = halves(*digits, seed=3)
    assert rows_of(split.train).isdisjoint(rows_of(split.test))
    assert rows_of(split.train) | rows_of(split.test) == rows_of(digits.pixels)
    assert np.array_equal(np.bincount(split.train_labels), np.bincount(split.test_labels))
    assert np.array_equal(split.train, halves(*digits, seed=3).train)
    assert rows_of(split.train) != rows_of(halves(*digits, seed=4).train)


def test_features_are_learned_from_one_half_without_its_labels(digits):
    spy = Spy()
    task = ClassificationTask(*digits, [Method("spy", lambda seed: spy)], DIGIT_MEASURES, evaluate_digits)
    results = list(task.measure(task.methods[0], 1, DIGIT_MEASURES))
    assert spy.labels is None
    assert np.array_equal(spy.seen, halves(*digits, 1).train)
    assert [result.measure for result in results] == DIGIT_MEASURES
    assert_allclose([result.value for result in results], 1)


def test_classifiers_of_noise_are_at_chance(rng):
    labels = np.repeat(np.arange(10), 50)
    values = evaluate_digits(rng.normal(size=(500, 3)), labels, rng.normal(size=(500, 3)), labels, 0)
    assert all(0.02 < value < 0.2 for value in values.values())


def test_only_the_neighbours_of_unscaled_features_depend_on_the_units(rng):
    labels = np.repeat(np.arange(10), 50)
    features = [np.eye(10)[labels] + 0.7 * rng.normal(size=(500, 10)) for _ in range(2)]
    units = np.r_[100, np.ones(9)]
    plain = evaluate_digits(features[0], labels, features[1], labels, 0)
    scaled = evaluate_digits(features[0] * units, labels, features[1] * units, labels, 0)
    for measure in (LOGISTIC, NEIGHBOURS, FEW_LABELS):
        assert_allclose(scaled[measure], plain[measure], atol=0.005)
    assert scaled[UNSCALED] < plain[UNSCALED] - 0.1


def test_the_few_labels_are_stratified():
    labels = np.repeat(np.arange(10), [60, *[40] * 8, 20])
    rows = sample_rows(labels, 100, seed=0)
    assert len(set(rows)) == 100
    assert np.bincount(labels[rows]).tolist() == [15, *[10] * 8, 5]
    assert set(rows) != set(sample_rows(labels, 100, seed=1))


def test_macro_f1_weights_all_families_equally():
    features, labels = np.r_[np.zeros(90), np.ones(10)][:, None], np.repeat(["normal", "u2r"], [90, 10])
    assert evaluate_families(features, labels, features, labels, 0) == {"macro F1": 1.0, "accuracy": 1.0}
    blind = evaluate_families(np.zeros((100, 1)), labels, features, labels, 0)
    assert_allclose(list(blind.values()), [(2 * 0.9 / 1.9) / 2, 0.9])  # all are predicted as normal


def test_each_attack_has_its_family():
    attacks = pd.Series(["normal", "neptune", "satan", "phf", "rootkit", "smurf"])
    assert families(attacks).tolist() == ["normal", "dos", "probe", "r2l", "u2r", "dos"]
    assert len({attack for group in FAMILIES.values() for attack in group}) == 23  # none is in two of them
    with pytest.raises(ValueError, match="without a family: mscan. Add"):
        families(pd.Series(["normal", "mscan"]))


def test_attack_families_are_classified_from_a_mixed_table(rng):
    rows = pd.DataFrame({"bytes": rng.normal(size=60), "flag": ["SF", "S0", "REJ"] * 20})
    labels = families(pd.Series(["normal", "neptune", "satan"] * 20))
    task = ClassificationTask(
        rows, labels, [Method("one-hot", lambda seed: one_hot(rows))], ["accuracy"], evaluate_families
    )
    assert [result.value for result in task.measure(task.methods[0], 0, ["accuracy"])] == [1.0]


def test_pyods_latents_are_the_means_of_its_encoder(rng):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("pyod")
    rows = rng.random((64, 20))
    latents = PyODLatents(seed=0).fit(rows)
    model = latents.detector.model
    assert latents.transform(rows).shape == (64, 16)
    scaled = (rows - rows.mean(0)) / rows.std(0)
    means = model.encoder_mu(model.encoder(torch.tensor(scaled, dtype=torch.float32)))
    assert_allclose(latents.transform(rows), means.detach(), atol=1e-5)
    assert np.array_equal(latents.transform(rows), latents.transform(rows))  # without dropout


class Nearness:
    """A peer that records its training rows and scores rows by the distance to their mean."""

    def __init__(self):
        self.trained = []

    def fit(self, train):
        self.trained.append(train)

    def score(self, test, train_index):
        assert (train_index == -1).all()
        return ((test - self.trained[-1].mean(0)) ** 2).sum(1)


def test_one_digit_is_learned_and_the_others_are_anomalies(digits):
    peer = Nearness()
    task = DigitTask(digits, [Method("nearness", partial(train_and_score, lambda seed: peer))], detection_auroc)
    results = list(task.measure(task.methods[0], 0, ["digit 3", "digit 7"]))
    assert [result.measure for result in results] == ["digit 3", "digit 7"]
    assert_allclose([result.value for result in results], 1)
    split = halves(*digits, 0)
    for digit, trained in zip((3, 7), peer.trained, strict=True):
        assert np.array_equal(trained, split.train[split.train_labels == digit])


def test_the_pca_error_is_the_squared_distance_to_the_plane(rng):
    plane = np.c_[rng.normal(size=(100, COMPONENTS)), np.zeros((100, 2))]
    peer = PCAError()
    peer.fit(plane)
    off = plane[:5] + np.r_[np.zeros(COMPONENTS), 3, 4]
    assert_allclose(peer.score(np.r_[plane[:5], off], np.full(10, -1)), np.repeat([0, 25], 5), atol=1e-9)


def test_samples_agree_where_they_look_like_their_digit(digits):
    samplers = [
        Method("real", sample_real),
        Method("the next digit", lambda split, digit, seed: sample_real(split, (digit + 1) % 10, seed)),
    ]
    task = DigitTask(digits, samplers, classifier_agreement)
    for method, agreement in zip(samplers, (1, 0), strict=True):
        results = list(task.measure(method, 0, DIGITS))
        assert [result.measure for result in results] == DIGITS
        assert_allclose([result.value for result in results], agreement)


def test_linear_samples_have_the_mean_and_spread_of_their_digit(rng):
    rows = (0.5 + 0.05 * rng.normal(size=(4000, 40)) * np.linspace(0.5, 1, 40)).clip(0, 1)
    split = halves(rows, np.zeros(4000, dtype=int), 0)
    samples = sample_linear(split, 0, seed=0)
    kept = PCA(COMPONENTS).fit(split.train).explained_variance_.sum()
    assert_allclose(samples.mean(0), 0.5, atol=0.02)
    assert_allclose(samples.var(0).sum(), kept, rtol=0.1)


def test_the_error_is_that_of_the_removed_cells_in_standard_deviations(rng):
    table = rng.normal(size=(4000, 3)) * [1, 10, 100]
    holes = []

    def zeros(gone, seed):
        holes.append(np.isnan(gone))
        return np.where(np.isnan(gone), 0.0, gone + 7)  # changes of observed cells do not count

    task = ImputationTask({"a": table, "b": table[:100]}, [Method("zeros", zeros)])
    (result,) = task.measure(task.methods[0], 0, ["a"])
    assert result.measure == "a"
    assert_allclose(result.value, 1, atol=0.05)
    assert_allclose(holes[0].mean(), FRACTION, atol=0.02)
    list(task.measure(task.methods[0], 0, ["a"]))
    assert np.array_equal(holes[0], holes[1])


def test_imputers_see_standardised_columns_and_fill_in_the_original_units(rng):
    seen = []

    class Filler:
        def fit_transform(self, table):
            seen.append(table)
            return np.nan_to_num(table, nan=2.0)

    gone = rng.normal(5, 3, size=(500, 2))
    gone[0, 0] = np.nan
    filled = standardised(lambda seed: Filler())(gone, 0)
    assert_allclose(np.nanstd(seen[0], axis=0), 1)
    assert_allclose(filled[0, 0], np.nanmean(gone[:, 0]) + 2 * np.nanstd(gone[:, 0]))
    assert_allclose(filled[1:], gone[1:])


def test_anomalies_are_not_in_the_imputed_table(adbench):
    rows = normal_rows(adbench / "1_narrow.npz")
    with np.load(adbench / "1_narrow.npz") as file:
        assert rows_of(rows) == rows_of(file["X"][file["y"] == 0])


def test_digits_are_read_with_their_labels(tmp_path):
    pixels = np.arange(3 * 784, dtype=np.uint8)
    images = struct.pack(">4I", 0x803, 3, 28, 28) + pixels.tobytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    labels = struct.pack(">2I", 0x801, 3) + bytes([7, 2, 1])
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    digits = read_digits(tmp_path)
    assert digits.labels.tolist() == [7, 2, 1]
    assert_allclose(digits.pixels.ravel() * 255, pixels)


class Counted:
    """A task of two measures that records what it measures."""

    methods = (Method(OURS, None), Method("slow", None, seeds=1))
    measures = ("a", "b")

    def __init__(self):
        self.measured = []

    def measure(self, method, seed, lacking):
        for measure in self.measures:
            if measure in lacking:
                self.measured.append((method.name, seed, measure))
                yield Result(measure, len(self.measured) / 10, 2.0)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Run the command on a small task; return what it measured, and the page."""
    task = Counted()
    monkeypatch.setattr(command, "CHAPTERS", {"made up": Chapter("Made up", "Of nothing.", lambda data: task, True)})

    def run(*arguments):
        task.measured.clear()
        command.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), *arguments])
        return task.measured.copy(), (tmp_path / "out" / "representation.md").read_text()

    return run


def test_first_seeds_come_first_and_slow_methods_have_fewer(start, tmp_path, capsys):
    measured, page = start("--seeds", "2")
    assert measured == [(name, seed, m) for name, seed in ((OURS, 0), ("slow", 0), (OURS, 1)) for m in "ab"]
    assert "| vae-anomaly | 0.3000 ± 0.2828 | 0.4000 ± 0.2828 | 0.3500 ± 0.2828 | 2 | 4.0 |" in page
    assert "| slow | 0.3000 | 0.4000 | 0.3500 | 1 | 4.0 |" in page
    assert str(tmp_path) not in page
    assert "made up, slow, seed 0, a: 0.3000 (2.0 s)" in capsys.readouterr().out


def test_a_second_run_measures_only_what_is_missing(start, tmp_path):
    start("--seeds", "2")
    path = tmp_path / "out" / "representation.csv"
    *kept, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join(kept) + last[:10])  # incomplete
    measured, page = start("--seeds", "2")
    assert measured == [(OURS, 1, "b")]
    (tmp_path / "out" / "representation.md").unlink()
    assert start("--seeds", "2") == ([], page)


def test_a_mean_of_incomplete_measures_is_not_shown(start, tmp_path):
    start("--seeds", "1")
    path = tmp_path / "out" / "representation.csv"
    figures = [line for line in path.read_text().splitlines(keepends=True) if ",slow,b," not in line]
    path.write_text("".join(figures))
    text = write_page(command.CHAPTERS, pd.read_csv(path), [])
    assert "| slow | 0.3000 | – | – | 1 | 2.0 |" in text


@pytest.mark.parametrize("ours, verdict", [(0.85, "**missed**"), (0.9, "met")])
def test_the_page_shows_which_targets_are_met_and_which_method_is_first(ours, verdict):
    methods = {OURS: ours, PRINCIPAL: 0.81, "raw pixels": 0.87}
    rows = [("mnist", name, LOGISTIC, 0, value, 1.0, "abc") for name, value in methods.items()]
    rows.append(("mnist", PRINCIPAL, LOGISTIC, 1, 0.1, 1.0, "abc"))  # ours has no second seed: not compared
    columns = ["task", "method", "measure", "seed", "value", "seconds", "commit"]
    text = write_page(command.CHAPTERS, pd.DataFrame(rows, columns=columns), ["machine: one"])
    assert f"| {OURS} | {ours:.4f} | 0.8600 ({PRINCIPAL} + 0.05) | {ours - 0.86:+.4f} | {verdict} |" in text
    assert f"{int(verdict == 'met')} of 1 targets with figures are met" in text
    place = "first" if ours > 0.87 else "behind"
    assert f"mnist: {place} in {LOGISTIC} {ours:.4f} ({OURS}) vs 0.8700 (raw pixels)." in text
    assert "- machine: one\n- measured at commit abc\n" in text


def test_the_lowest_imputation_error_is_first_and_wins_are_counted():
    errors = {OURS: (0.5, 0.4, 0.3), "KNNImputer": (0.6, 0.2, 0.9)}
    sets = ("wine", "fault", "cardio")
    rows = [
        ("imputation", name, which, 0, value, 1.0, "abc")
        for name in errors
        for which, value in zip(sets, errors[name], strict=True)
    ]
    columns = ["task", "method", "measure", "seed", "value", "seconds", "commit"]
    text = write_page(command.CHAPTERS, pd.DataFrame(rows, columns=columns), [])
    assert f"first in mean 0.4000 ({OURS}) vs 0.5667 (KNNImputer). {OURS} is the best or tied in 2 of 3" in text


def test_the_small_digits_are_classified_above_chance(tmp_path):
    task = build_digits(tmp_path)
    principal = next(method for method in task.methods if method.name == PRINCIPAL)
    values = {result.measure: result.value for result in task.measure(principal, 0, DIGIT_MEASURES)}
    assert set(values) == set(DIGIT_MEASURES)
    assert min(values.values()) > 0.8
