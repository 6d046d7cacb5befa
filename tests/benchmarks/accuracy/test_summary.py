import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from benchmarks.accuracy.page import write_page
from benchmarks.accuracy.summary import bootstrap_means, complete_methods, differences, grid, rank_intervals, ranking
from benchmarks.shared.command import command_line

AUROCS = {"vae-anomaly": [0.9, 0.8, 0.7], "KCM": [0.9, 0.6, 0.8], "IsolationForest": [0.5, 0.7, 0.6]}


def test_ranks_share_ties_and_wins_count_them_for_all(make_figures):
    table = ranking(make_figures(AUROCS), baseline="IsolationForest")
    assert list(table.index) == ["vae-anomaly", "KCM", "IsolationForest"]
    assert_allclose(table["rank AUROC"], [(1.5 + 1 + 2) / 3, (1.5 + 3 + 1) / 3, (3 + 2 + 3) / 3])
    assert table["wins AUROC"].tolist() == [2, 2, 0]
    assert_allclose(table["mean AUROC"], [0.8, 2.3 / 3, 0.6])
    assert_allclose(table["median AP"], [0.4, 0.4, 0.3])


def test_seeds_are_averaged_before_sets(make_figures):
    first, second = make_figures({"KCM": [0.9, 0.5]}), make_figures({"KCM": [0.5, 0.5]}).assign(seed=1)
    figures = pd.concat([first, second, second[second["set"] == "1_set"].assign(seed=2)])
    assert_allclose(grid(figures, "auroc")["KCM"], [1.9 / 3, 0.5])
    table = ranking(figures, baseline="IsolationForest")
    assert_allclose(table["mean AUROC"], (1.9 / 3 + 0.5) / 2)
    assert_allclose(table["seconds"], 2 * 3.0)  # the mean over seeds, the sum over two sets
    assert table["relative seconds"].isna().all()


def test_seconds_are_also_given_in_those_of_the_baseline(make_figures):
    figures = make_figures(AUROCS)
    figures.loc[figures["method"] == "KCM", "fit_seconds"] = 5.0
    relative = ranking(figures, baseline="IsolationForest")["relative seconds"]
    assert_allclose(relative[["KCM", "IsolationForest"]], [2, 1])


def test_a_method_without_every_set_and_seed_is_not_complete(make_figures):
    figures = pd.concat([make_figures(AUROCS), make_figures({"LOF": [0.9, 0.9]})])
    sets = ["1_set", "2_set", "3_set"]
    assert complete_methods(figures, sets, lambda method: [0]) == list(AUROCS)
    assert complete_methods(figures, sets, lambda method: [0, 1]) == []


def test_bootstrap_has_the_interval_of_the_mean():
    rows = np.random.default_rng(1).normal(0.3, 1, size=(400, 1))
    low, high = bootstrap_means(rows)
    half = 1.96 * rows.std() / 20
    assert_allclose([low[0], high[0]], [rows.mean() - half, rows.mean() + half], atol=0.01)
    assert np.array_equal(bootstrap_means(rows), (low, high))


def test_bootstrap_of_two_sets_can_be_counted_by_hand():
    low, high = bootstrap_means(np.array([[0.0, 0.2], [1.0, 0.2]]))  # means 0, 0.5 and 1 in 1 : 2 : 1
    assert_allclose(low, [0, 0.2])
    assert_allclose(high, [1, 0.2])


def test_differences_are_paired_and_say_whether_they_exclude_zero(make_figures):
    table = differences(make_figures({**AUROCS, "LOF": [0.8, 0.7, 0.6]}), "vae-anomaly").set_index(
        ["measure", "method"]
    )
    assert_allclose(table.loc[("AUROC", "LOF"), ["difference", "low", "high"]].astype(float), 0.1)  # in every set
    assert table.loc[("AUROC", "LOF"), "excludes_zero"]
    assert_allclose(table.loc[("AUROC", "KCM"), "difference"], 0.1 / 3)
    assert not table.loc[("AUROC", "KCM"), "excludes_zero"]
    assert_allclose(table.loc[("AP", "IsolationForest"), "difference"], 0.1)


def test_the_better_method_has_the_better_rank_with_its_interval(make_figures):
    table = rank_intervals(make_figures(AUROCS), "auroc")
    assert list(table.index) == ["vae-anomaly", "KCM", "IsolationForest"]
    assert (table["low"] <= table["rank"]).all()
    assert (table["high"] >= table["rank"]).all()


def test_the_page_sets_incomplete_methods_apart_and_tells_failures(make_figures):
    figures = pd.concat([make_figures(AUROCS), make_figures({"LOF": [0.9]})], ignore_index=True)
    figures.loc[0, "error"] = "ValueError: no"
    text = write_page("adbench", "novelty", figures, ["vae-anomaly", "KCM", "IsolationForest"], ["machine: one"])
    assert "| vae-anomaly | 0.8000 | 0.8000 | 1.50 | 2 | 0.4000 | 0.4000 | 1.50 | 2 | 1 | 9.0 | 1.0 |" in text
    assert "| 1_set | 0.900 / 0.450 | 0.900 / 0.450 | 0.500 / 0.250 |" in text
    assert "- LOF: 1 figures" in text
    assert "- vae-anomaly on 1_set, seed 0: ValueError: no" in text
    assert "KCM 3,000" in text
    assert "- machine: one\n- measured at commit abc\n" in text
    assert "for development" not in text
    assert text.startswith("# adbench, novelty setting")


def test_the_page_lists_the_sets_on_which_a_peer_is_ahead(make_figures):
    figures = make_figures({"vae-anomaly": [0.9, 0.6, 0.7], "KCM": [0.8, 0.9, 0.7], "LOF": [0.1, 0.8, 0.8]})
    text = write_page("adbench", "novelty", figures, ["vae-anomaly", "KCM", "LOF"], [])
    losses = text.split("## Largest losses by average precision")[1].split("##")[0]
    assert "| 2_set | 0.300 | 0.450 | 0.150 | KCM |" in losses
    assert "| 3_set | 0.350 | 0.400 | 0.050 | LOF |" in losses
    assert "1_set" not in losses


@pytest.mark.parametrize("column, words", [("cap", "at most 3 rows of each set"), ("jobs", "up to 3 processes")])
def test_the_page_says_what_makes_its_figures_incomparable(make_figures, column, words):
    text = write_page("adbench", "outlier", make_figures(AUROCS).assign(**{column: 3}), list(AUROCS), [])
    assert words in text


def test_the_command_is_shown_without_the_paths_of_this_machine():
    shown = command_line(
        "benchmarks.accuracy",
        ["--data", "/home/someone/data/adbench", "--output=/tmp/x/y/z", "--methods", "5 neighbours"],
    )
    assert shown == "python -m benchmarks.accuracy --data data/adbench --output=y/z --methods '5 neighbours'"
    assert (
        command_line("benchmarks.accuracy", ["--data", "../adbench"])
        == "python -m benchmarks.accuracy --data ../adbench"
    )
