import gzip
import struct

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer

from benchmarks.representation import __main__ as features
from benchmarks.representation.classify import (
    DIGIT_MEASURES,
    FEW_LABELS,
    LOGISTIC,
    NEIGHBOURS,
    PRINCIPAL,
    UNSCALED,
    CodingTask,
    PyODCodes,
    build_digits,
    draw_rows,
    judge_digits,
    judge_families,
)
from benchmarks.representation.imputation import SHARE, ImputationTask, normal_rows, standardised
from benchmarks.representation.mnist import (
    COMPONENTS,
    DIGITS,
    Digits,
    OneClassTask,
    Residual,
    SamplingTask,
    draw_linear,
    draw_real,
    read_digits,
)
from benchmarks.representation.page import write_page
from benchmarks.representation.tasks import Chapter, Method, Result, halves
from benchmarks.shared.nsl_kdd import FAMILIES, families, one_hot
from benchmarks.shared.peers import OURS


@pytest.fixture
def digits(rng):
    """Ten groups of 40 rows, far from one another, in 40 columns."""
    labels = np.repeat(np.arange(10), 40)
    return Digits(np.eye(10).repeat(4, axis=1)[labels] * 5 + rng.normal(scale=0.1, size=(400, 40)), labels)


class Spy(FunctionTransformer):
    """Rows as they are; keeps those of its fit, and whether it was given labels."""

    def fit(self, X, y=None):
        self.seen, self.labels = X, y
        return self


def rows_of(table):
    return {tuple(row) for row in table}


def test_halves_are_apart_and_hold_the_same_share_of_each_label(digits):
    split = halves(*digits, seed=3)
    assert rows_of(split.train).isdisjoint(rows_of(split.test))
    assert rows_of(split.train) | rows_of(split.test) == rows_of(digits.pixels)
    assert np.array_equal(np.bincount(split.train_labels), np.bincount(split.test_labels))
    assert np.array_equal(split.train, halves(*digits, seed=3).train)
    assert rows_of(split.train) != rows_of(halves(*digits, seed=4).train)


def test_codes_are_learned_from_one_half_without_its_labels(digits):
    spy = Spy()
    task = CodingTask(*digits, [Method("spy", lambda seed: spy)], DIGIT_MEASURES, judge_digits)
    results = list(task.measure(task.methods[0], 1, DIGIT_MEASURES))
    assert spy.labels is None
    assert np.array_equal(spy.seen, halves(*digits, 1).train)
    assert [result.measure for result in results] == DIGIT_MEASURES
    assert_allclose([result.value for result in results], 1)


def test_classifiers_of_noise_tell_no_digit(rng):
    labels = np.repeat(np.arange(10), 50)
    values = judge_digits(rng.normal(size=(500, 3)), labels, rng.normal(size=(500, 3)), labels, 0)
    assert all(0.02 < value < 0.2 for value in values.values())


def test_only_the_neighbours_of_codes_as_they_are_depend_on_the_units(rng):
    labels = np.repeat(np.arange(10), 50)
    codes = [np.eye(10)[labels] + 0.7 * rng.normal(size=(500, 10)) for _ in range(2)]
    units = np.r_[100, np.ones(9)]
    plain = judge_digits(codes[0], labels, codes[1], labels, 0)
    scaled = judge_digits(codes[0] * units, labels, codes[1] * units, labels, 0)
    for measure in (LOGISTIC, NEIGHBOURS, FEW_LABELS):
        assert_allclose(scaled[measure], plain[measure], atol=0.005)
    assert scaled[UNSCALED] < plain[UNSCALED] - 0.1


def test_the_few_labels_are_of_every_kind():
    labels = np.repeat(np.arange(10), [60, *[40] * 8, 20])
    rows = draw_rows(labels, 100, seed=0)
    assert len(set(rows)) == 100
    assert np.bincount(labels[rows]).tolist() == [15, *[10] * 8, 5]
    assert set(rows) != set(draw_rows(labels, 100, seed=1))


def test_families_are_judged_alike_whatever_their_size():
    codes, labels = np.r_[np.zeros(90), np.ones(10)][:, None], np.repeat(["normal", "u2r"], [90, 10])
    assert judge_families(codes, labels, codes, labels, 0) == {"macro F1": 1.0, "accuracy": 1.0}
    blind = judge_families(np.zeros((100, 1)), labels, codes, labels, 0)
    assert_allclose(list(blind.values()), [(2 * 0.9 / 1.9) / 2, 0.9])  # all are called normal


def test_each_attack_has_its_family():
    attacks = pd.Series(["normal", "neptune", "satan", "phf", "rootkit", "smurf"])
    assert families(attacks).tolist() == ["normal", "dos", "probe", "r2l", "u2r", "dos"]
    assert len({attack for group in FAMILIES.values() for attack in group}) == 23  # none is in two of them
    with pytest.raises(ValueError, match="these attacks: mscan. Add"):
        families(pd.Series(["normal", "mscan"]))


def test_attack_families_are_told_from_a_mixed_table(rng):
    rows = pd.DataFrame({"bytes": rng.normal(size=60), "flag": ["SF", "S0", "REJ"] * 20})
    labels = families(pd.Series(["normal", "neptune", "satan"] * 20))
    task = CodingTask(rows, labels, [Method("one-hot", lambda seed: one_hot(rows))], ["accuracy"], judge_families)
    assert [result.value for result in task.measure(task.methods[0], 0, ["accuracy"])] == [1.0]


def test_pyods_codes_are_the_means_of_its_encoder(rng):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("pyod")
    rows = rng.random((64, 20))
    codes = PyODCodes(seed=0).fit(rows)
    model = codes.detector.model
    assert codes.transform(rows).shape == (64, 16)
    scaled = (rows - rows.mean(0)) / rows.std(0)
    means = model.encoder_mu(model.encoder(torch.tensor(scaled, dtype=torch.float32)))
    assert_allclose(codes.transform(rows), means.detach(), atol=1e-5)
    assert np.array_equal(codes.transform(rows), codes.transform(rows))  # no dropout any more


class Nearness:
    """A peer that keeps its training rows: odd is what is far from their mean."""

    def __init__(self):
        self.trained = []

    def fit(self, train):
        self.trained.append(train)

    def score(self, test, own):
        assert (own == -1).all()
        return ((test - self.trained[-1].mean(0)) ** 2).sum(1)


def test_one_digit_is_learned_and_the_others_are_odd(digits):
    peer = Nearness()
    task = OneClassTask(digits, [Method("nearness", lambda seed: peer)])
    results = list(task.measure(task.methods[0], 0, ["digit 3", "digit 7"]))
    assert [result.measure for result in results] == ["digit 3", "digit 7"]
    assert_allclose([result.value for result in results], 1)
    split = halves(*digits, 0)
    for digit, trained in zip((3, 7), peer.trained, strict=True):
        assert np.array_equal(trained, split.train[split.train_labels == digit])


def test_the_residual_is_the_distance_to_the_plane(rng):
    plane = np.c_[rng.normal(size=(100, COMPONENTS)), np.zeros((100, 2))]
    peer = Residual()
    peer.fit(plane)
    off = plane[:5] + np.r_[np.zeros(COMPONENTS), 3, 4]
    assert_allclose(peer.score(np.r_[plane[:5], off], np.full(10, -1)), np.repeat([0, 25], 5), atol=1e-9)


def test_samples_agree_where_they_look_like_their_digit(digits):
    samplers = [
        Method("real", draw_real),
        Method("the next digit", lambda split, digit, seed: draw_real(split, (digit + 1) % 10, seed)),
    ]
    task = SamplingTask(digits, samplers)
    for method, agreement in zip(samplers, (1, 0), strict=True):
        results = list(task.measure(method, 0, DIGITS))
        assert [result.measure for result in results] == DIGITS
        assert_allclose([result.value for result in results], agreement)


def test_linear_samples_have_the_mean_and_spread_of_their_digit(rng):
    rows = (0.5 + 0.05 * rng.normal(size=(4000, 40)) * np.linspace(0.5, 1, 40)).clip(0, 1)
    split = halves(rows, np.zeros(4000, dtype=int), 0)
    samples = draw_linear(split, 0, seed=0)
    kept = PCA(COMPONENTS).fit(split.train).explained_variance_.sum()
    assert_allclose(samples.mean(0), 0.5, atol=0.02)
    assert_allclose(samples.var(0).sum(), kept, rtol=0.1)


def test_the_error_is_of_the_removed_cells_in_deviations_of_their_columns(rng):
    table = rng.normal(size=(4000, 3)) * [1, 10, 100]
    holes = []

    def zeros(gone, seed):
        holes.append(np.isnan(gone))
        return np.where(np.isnan(gone), 0.0, gone + 7)  # what is done to observed cells is not counted

    task = ImputationTask({"a": table, "b": table[:100]}, [Method("zeros", zeros)])
    (result,) = task.measure(task.methods[0], 0, ["a"])
    assert result.measure == "a"
    assert_allclose(result.value, 1, atol=0.05)
    assert_allclose(holes[0].mean(), SHARE, atol=0.02)
    list(task.measure(task.methods[0], 0, ["a"]))
    assert np.array_equal(holes[0], holes[1])


def test_a_filler_of_scikit_learns_sees_standardised_columns_and_answers_in_their_units(rng):
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


def test_no_anomaly_is_filled_in(adbench):
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
    """A task of two measures that keeps what it was asked."""

    methods = (Method(OURS, None), Method("slow", None, seeds=1))
    measures = ("a", "b")

    def __init__(self):
        self.asked = []

    def measure(self, method, seed, lacking):
        for measure in self.measures:
            if measure in lacking:
                self.asked.append((method.name, seed, measure))
                yield Result(measure, len(self.asked) / 10, 2.0)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """The command on a made-up task; what it measured, and the page."""
    task = Counted()
    monkeypatch.setattr(features, "CHAPTERS", {"made up": Chapter("Made up", "Of nothing.", lambda data: task, True)})

    def run(*arguments):
        task.asked.clear()
        features.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), *arguments])
        return task.asked.copy(), (tmp_path / "out" / "representation.md").read_text()

    return run


def test_first_seeds_come_first_and_slow_methods_have_fewer(start, tmp_path, capsys):
    asked, page = start("--seeds", "2")
    assert asked == [(name, seed, m) for name, seed in ((OURS, 0), ("slow", 0), (OURS, 1)) for m in "ab"]
    assert "| vae-anomaly | 0.3000 ± 0.2828 | 0.4000 ± 0.2828 | 0.3500 ± 0.2828 | 2 | 4.0 |" in page
    assert "| slow | 0.3000 | 0.4000 | 0.3500 | 1 | 4.0 |" in page
    assert str(tmp_path) not in page
    assert "made up, slow, seed 0, a: 0.3000 (2.0 s)" in capsys.readouterr().out


def test_started_again_it_measures_only_what_is_missing(start, tmp_path):
    start("--seeds", "2")
    path = tmp_path / "out" / "representation.csv"
    *kept, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join(kept) + last[:10])  # torn
    asked, page = start("--seeds", "2")
    assert asked == [(OURS, 1, "b")]
    (tmp_path / "out" / "representation.md").unlink()
    assert start("--seeds", "2") == ([], page)


def test_a_mean_of_some_measures_is_none(start, tmp_path):
    start("--seeds", "1")
    path = tmp_path / "out" / "representation.csv"
    figures = [line for line in path.read_text().splitlines(keepends=True) if ",slow,b," not in line]
    path.write_text("".join(figures))
    text = write_page(features.CHAPTERS, pd.read_csv(path), [])
    assert "| slow | 0.3000 | – | – | 1 | 2.0 |" in text


@pytest.mark.parametrize("ours, verdict", [(0.85, "**missed**"), (0.9, "met")])
def test_the_page_says_which_targets_are_met_and_who_is_first(ours, verdict):
    methods = {OURS: ours, PRINCIPAL: 0.81, "raw pixels": 0.87}
    rows = [("mnist", name, LOGISTIC, 0, value, 1.0, "abc") for name, value in methods.items()]
    rows.append(("mnist", PRINCIPAL, LOGISTIC, 1, 0.1, 1.0, "abc"))  # ours has no second seed: not compared
    columns = ["task", "method", "measure", "seed", "value", "seconds", "commit"]
    text = write_page(features.CHAPTERS, pd.DataFrame(rows, columns=columns), ["machine: one"])
    assert f"| {OURS} | {ours:.4f} | 0.8600 ({PRINCIPAL} + 0.05) | {ours - 0.86:+.4f} | {verdict} |" in text
    assert f"{int(verdict == 'met')} of 1 targets are met" in text
    place = "first" if ours > 0.87 else "behind"
    assert f"mnist: {place} in {LOGISTIC} {ours:.4f} ({OURS}) against 0.8700 (raw pixels)." in text
    assert "- machine: one\n- measured at commit abc\n" in text


def test_in_missing_cells_the_lowest_error_is_first_and_wins_are_counted():
    errors = {OURS: (0.5, 0.4, 0.3), "KNNImputer": (0.6, 0.2, 0.9)}
    sets = ("wine", "fault", "cardio")
    rows = [
        ("imputation", name, which, 0, value, 1.0, "abc")
        for name in errors
        for which, value in zip(sets, errors[name], strict=True)
    ]
    columns = ["task", "method", "measure", "seed", "value", "seconds", "commit"]
    text = write_page(features.CHAPTERS, pd.DataFrame(rows, columns=columns), [])
    assert (
        f"first in mean 0.4000 ({OURS}) against 0.5667 (KNNImputer). {OURS} is the best or as good in 2 of 3." in text
    )


def test_the_small_digits_are_coded_above_chance(tmp_path):
    task = build_digits(tmp_path)
    principal = next(method for method in task.methods if method.name == PRINCIPAL)
    values = {result.measure: result.value for result in task.measure(principal, 0, DIGIT_MEASURES)}
    assert set(values) == set(DIGIT_MEASURES)
    assert min(values.values()) > 0.8
