"""Checks of a fitted model: each takes arrays, measures one value and judges it in a sentence.

The thresholds lie between what 42 healthy fits with the defaults gave (ADBench's 21 tables, at most 3,000 rows, with
``novelty`` and without) and what models made to be faulty gave.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
from scipy.stats import rankdata

from vae_anomaly.fitted import LatentSummary
from vae_anomaly.formatting import counted, listed, listed_names, nats, number, percent
from vae_anomaly.scoring.calibration import calibrate
from vae_anomaly.scoring.decide import MANY, hardly_outliers

GOOD, LOOK, BAD = "good", "look", "bad"
Names = Sequence[str | int]

CARRIED = 0.1  # nats a row in all latents together: less does not distinguish rows
INFORMATIVE = 0.5  # nats a row that the columns share: less can hardly be learned


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes
    ----------
    check : str
        Name of the check.
    value : float
        What was measured, NaN if it could not be.
    verdict : str
        "good", "look" if a person should judge, or "bad" if the model does not do its job.
    message : str
        One or two sentences: what was found, and what to do about it.
    """

    check: str
    value: float
    verdict: str
    message: str


def rows_per_column(n_rows: int, n_columns: int, *, images: bool) -> Finding:
    """Rows per column. Pixels depend on their neighbours, so that only the number of images counts."""
    value = n_rows / n_columns
    sparse = value < 5 and not images
    table = f"{n_rows:,} rows of {n_columns:,} {'pixels' if images else 'columns'}"
    if n_rows < 10 or (sparse and n_rows <= n_columns):  # under 10 rows there is not even a prior of exemplars
        message = f"{table} are too few to learn from: fit on more rows, or leave columns out."
        return Finding("rows_per_column", value, BAD, message)
    if n_rows < 50 or sparse:
        message = (
            f"{table} are few, and the model may overfit: more rows, fewer columns or a smaller n_components help."
        )
        return Finding("rows_per_column", value, LOOK, message)
    return Finding("rows_per_column", value, GOOD, f"{table} are enough to learn from.")


def constant_columns(names: Names, constant: np.ndarray) -> Finding:
    """Number of columns with one value in training; ``constant`` is (columns,) bool."""
    found = _chosen(names, constant)
    if not found:
        return Finding("constant_columns", 0, GOOD, "Every column had more than one value in training.")
    message = (
        f"{_columns(found)} had one value in training, so that any other value is highly anomalous. Leave it out "
        "if that is not intended."
    )
    return Finding("constant_columns", len(found), LOOK, message)


def identifiers(names: Names, n_levels: np.ndarray, n_rows: int) -> Finding:
    """Largest number of levels per row; ``n_levels`` (columns,) is 0 for columns that are no category."""
    per_row = n_levels / n_rows
    value = float(per_row.max(initial=0.0))
    found = _chosen(names, (per_row > 0.5) & (n_levels > 20))  # however few the rows, 20 levels make no identifier
    if not found:
        return Finding("identifiers", value, GOOD, "No category has nearly as many values as there are rows.")
    message = f"{_columns(found)} had another value in nearly every row, as an identifier has. Leave it out."
    return Finding("identifiers", value, LOOK, message)


def training(objective: np.ndarray, last: float, kept: float, n_columns: int, unit: str = "nats") -> Finding:
    """Loss between the best and the last round of training, which is large if training diverged.

    Parameters
    ----------
    objective : ndarray
        (rounds,) objective per row, which training maximises.
    last : float
        Mean score of training rows in the last round.
    kept : float
        Mean score of typical training rows under the weights that were kept, which may be those of the start.
    n_columns : int
        Number of columns; each may lose a few nats in the last round.
    unit : str
        Unit of ``objective``, ``last`` and ``kept``.
    """
    loss, gain = float(objective.max() - objective[-1]), float(np.ptp(objective))
    # Healthy fits lost at most 0.33 of what they had gained, and ended less than 1 nat a column below the weights kept.
    if loss > max(1.0, 0.5 * gain) or kept - last > 10.0 * n_columns:
        loss = max(loss, kept - last)
        message = f"Training diverged: it ended {_amount(loss, unit)} below its best. Take a smaller learning_rate."
        return Finding("training", loss, BAD, message)
    return Finding("training", loss, GOOD, f"Training ended within {_amount(loss, unit)} of its best.")


def held_out_elbo(elbo: np.ndarray, *, completed: bool, intended: bool, unit: str = "nats") -> Finding:
    """Gain of held-out rows in the second half of training, which is large if training was cut short.

    The learning rate falls to zero with the steps, so that the last of them always gain little: the second half of
    the steps is judged.

    Parameters
    ----------
    elbo : ndarray
        (rounds,) ELBO of held-out rows, per row.
    completed : bool
        All steps were done; training did not stop early because nothing more was gained.
    intended : bool
        ``max_iter`` is short on purpose.
    unit : str
        Unit of ``elbo``.
    """
    late_gain = float(elbo.max() - elbo[: len(elbo) // 2 + 1].max())
    gain = float(np.ptp(elbo))
    verdict = GOOD
    if elbo.argmax() == 0 and gain > 1.0:
        verdict = LOOK
        message = (
            f"Training made held-out rows less probable from its first round on, by {_amount(gain, unit)}; the "
            "weights before were kept. Take a smaller learning_rate."
        )
    elif not completed or late_gain < max(0.5, 0.05 * gain):  # where it was more, twice the steps gained more
        message = "Held-out rows had stopped gaining when training ended."
    else:
        message = f"In the second half of training held-out rows gained {_amount(late_gain, unit)}"
        if intended:
            message += "; 'auto' stops there, since more steps do not separate anomalous rows better."
        else:
            verdict = LOOK
            message += ", and they were still gaining at its end: take a larger max_iter."
    return Finding("held_out_elbo", late_gain, verdict, message)


def active_latents(members: Sequence[LatentSummary], shared: float) -> Finding:
    """Number of active latents of the best member: 0 if the posterior of every member has collapsed.

    After a collapse the latent means are the same for all rows. ``shared`` is the information that the columns share,
    in nats a row.
    """
    n_active, n_latents = max(int(latents.active.sum()) for latents in members), len(members[0].mean)
    alive = [
        latents.active.any() and (not any(latents.posterior_std) or sum(latents.kl) >= CARRIED) for latents in members
    ]
    if any(alive):
        dead = f" ({alive.count(False)} of {len(members)} members have none, and add little)"
        message = f"{n_active} of {n_latents} latents distinguish rows{'' if all(alive) else dead}."
        return Finding("active_latents", n_active, GOOD, message)
    message = f"The posterior has collapsed: the {n_latents} latents hardly distinguish rows"
    if shared < INFORMATIVE:
        return Finding("active_latents", n_active, LOOK, message + _why(shared, ""))
    return Finding("active_latents", n_active, BAD, message + _why(shared, "a smaller beta, such as 0.3"))


def latent_nats(latents: LatentSummary) -> Finding:
    """Information in all latents together, in nats a row."""
    total = float(sum(latents.kl))
    each = listed((nats(kl, 1) for kl in latents.kl), 16)
    message = f"The latents carry {_amount(total)} a row: {each}."
    return Finding("latent_nats", total, GOOD if total >= CARRIED else LOOK, message)


def independent_columns(
    scores: np.ndarray, margins: np.ndarray, shared: float, n_columns: int, *, remedy: str
) -> Finding:
    """Mean log density above that of independent columns, in nats a row.

    Parameters
    ----------
    scores : ndarray
        (rows,) leave-one-out scores of typical training rows.
    margins : ndarray
        (rows,) log density of the same rows under independent columns fitted to them.
    shared : float
        Information that the columns share, in nats a row.
    n_columns : int
        Number of columns; each may cost some nats if the model finds nothing.
    remedy : str
        The parameter that helps, and its value.
    """
    gain = float(np.mean(scores - margins))
    if gain > 0:
        message = f"Typical rows score {_amount(gain)} above a model of independent columns."
        return Finding("independent_columns", gain, GOOD, message)
    message = (
        f"As a density the model is no better than independent columns: typical rows score {_amount(-gain)} below them"
    )
    if gain < -1.0 * n_columns:  # healthy fits lost at most 0.8 nats a column
        message += ". Take a smaller learning_rate or beta, or a larger max_iter."
        return Finding("independent_columns", gain, BAD, message)
    return Finding("independent_columns", gain, LOOK, message + _why(shared, remedy))


def shuffled_columns(scores: np.ndarray, shuffled: np.ndarray, shared: float, *, remedy: str) -> Finding:
    """Probability that a training row scores above a row of shuffled values: 0.5 if the model sees no dependence.

    Parameters
    ----------
    scores : ndarray
        (rows,) leave-one-out scores of training rows.
    shuffled : ndarray
        (rows,) scores of rows whose values come from different training rows.
    shared : float
        Information that the columns share, in nats a row.
    remedy : str
        The parameter that helps, and its value.
    """
    order = np.sort(shuffled)
    below = (np.searchsorted(order, scores) + np.searchsorted(order, scores, side="right")) / 2
    probability = float(below.mean() / len(order))
    found = f"a row scores above a row of shuffled values in {percent(probability)} of pairs (chance: 50 %)"
    if probability >= 0.65:
        return Finding("shuffled_columns", probability, GOOD, f"{found[0].upper()}{found[1:]}.")
    verdict = BAD if probability < 0.58 and shared >= INFORMATIVE else LOOK
    message = f"The model has learned next to nothing beyond the margins: {found}{_why(shared, remedy)}"
    return Finding("shuffled_columns", probability, verdict, message)


@dataclass(frozen=True, eq=False)
class Group:
    """Training rows that belong together and that the model reconstructs and scores worse than others.

    ``rows`` is their mask, ``loss`` the difference of their median score to that of the other rows, in nats. ``common``
    says in words what they have in common, and ``evidence`` how they are reconstructed.
    """

    rows: np.ndarray
    loss: float
    evidence: str
    common: str = ""

    @classmethod
    def of(cls, rows: np.ndarray, scores: np.ndarray, evidence: str) -> Self:
        """The group of the ``rows`` (a mask), given all ``scores`` (rows,)."""
        return cls(rows, float(np.median(scores[~rows]) - np.median(scores[rows])), evidence)


def unlearned_levels(codes: np.ndarray, reconstructed: np.ndarray, scores: np.ndarray) -> Iterator[tuple[float, Group]]:
    """Codes of a category or flag and the rows that have them, where the model has not learned these.

    It reconstructs the level in less than half of the rows, and three in four of them score below another row. A rare
    level lowers the score of its rows anyhow, so that its cost by frequency alone is given back first.

    Parameters
    ----------
    codes, reconstructed : ndarray
        (rows,) category codes, NaN where a value is missing, and codes of the reconstructions.
    scores : ndarray
        (rows,) leave-one-out scores.
    """
    levels, of_row, counts = np.unique(codes, return_inverse=True, return_counts=True)  # of NaN there is one
    ranks = rankdata(scores - np.log(counts / len(codes))[of_row])
    for index in np.flatnonzero(_are_groups(counts, len(codes)) & np.isfinite(levels)):
        rows = of_row == index
        recovered = float(np.mean(reconstructed[rows] == levels[index]))
        if recovered < 0.5 and _probability_below(ranks, rows) > 0.75:  # learned groups: at most 0.73
            evidence = f"it reconstructs {percent(recovered)} of them with this value"
            yield float(levels[index]), Group.of(rows, scores, evidence)


def unlearned_clusters(x: np.ndarray, reconstructed: np.ndarray, scores: np.ndarray) -> Iterator[Group]:
    """Clusters of rows by their numbers, where the model has not learned these.

    They lie closer together than other rows do, yet their reconstructions are farther from them than their own mean
    (twice the squared distance), and three in four of them score below another row.

    Parameters
    ----------
    x, reconstructed : ndarray
        (rows, cells) standardised numbers, none missing, and their reconstructions.
    scores : ndarray
        (rows,) leave-one-out scores.
    """
    from sklearn.cluster import KMeans  # takes a tenth of a second, and no scoring needs it

    n_clusters, far = 8, 10.0  # clusters looked for, and standard deviations beyond which it does not matter how far
    x, reconstructed, ranks = x.clip(-far, far), reconstructed.clip(-far, far), rankdata(scores)
    clusters = KMeans(n_clusters, n_init=1, random_state=0).fit_predict(x) if len(x) > n_clusters else np.zeros(len(x))
    errors = ((x - reconstructed) ** 2).sum(1)
    for cluster in range(n_clusters):
        rows = clusters == cluster
        if _are_groups(rows.sum(), len(x)):
            own, other = x[rows].var(0).sum(), x[~rows].var(0).sum()
            if errors[rows].mean() > 2 * own and own < other and _probability_below(ranks, rows) > 0.75:
                yield Group.of(rows, scores, "their reconstructions lie elsewhere")


def _are_groups(counts: np.ndarray, n_rows: int) -> np.ndarray:
    """Numbers of rows that are neither too few to be learned nor most of the table."""
    fewest, smallest, largest = 20, 0.02, 0.5  # rows, and fractions of all rows
    return (counts >= max(fewest, smallest * n_rows)) & (counts <= largest * n_rows)


def _probability_below(ranks: np.ndarray, rows: np.ndarray) -> float:
    """Probability that one of the ``rows`` (a mask) ranks below another row."""
    n_rows = rows.sum()
    return float(1 - (ranks[rows].sum() - n_rows * (n_rows + 1) / 2) / (n_rows * (len(rows) - n_rows)))


def unlearned_group(groups: Sequence[Group], n_rows: int) -> Finding:
    """Fraction of the training rows in the largest group that the model has not learned."""
    if not groups:
        message = "There is no group of rows that the model has not learned."
        return Finding("unlearned_group", 0.0, GOOD, message)
    group = max(groups, key=lambda group: group.rows.sum())
    message = (
        f"The model has not learned the {group.rows.sum():,} rows {group.common}: {group.evidence}, and they "
        f"score {_amount(group.loss)} below the others. If they are normal, novelty=True (--novelty) or "
        "likelihood='gaussian' learns them."
    )
    return Finding("unlearned_group", group.rows.sum() / n_rows, LOOK, message)


def most_anomalous(scores: np.ndarray) -> np.ndarray:
    """Indices of the 5 % of rows with the lowest scores, lowest first: those that a person would look at."""
    return np.argsort(scores, kind="stable")[: max(1, round(0.05 * len(scores)))]


def seed_stability(scores: np.ndarray) -> Finding:
    """Fraction of the most anomalous rows that two members agree on; ``scores`` is (members, rows), a seed each."""
    if len(scores) < 2:
        message = "One member does not show whether another seed would rank the same rows first: n_estimators=3 does."
        return Finding("seed_stability", np.nan, LOOK, message)
    members = [set(most_anomalous(of_member).tolist()) for of_member in scores]
    n_rows = len(members[0])
    agreement = float(np.mean([len(one & other) / n_rows for one, other in combinations(members, 2)]))
    message = f"Two members agree on {percent(agreement)} of their {n_rows:,} most anomalous training rows"
    if agreement >= 0.5:  # healthy fits: at least 0.68
        return Finding("seed_stability", agreement, GOOD, f"{message}.")
    message += "; another seed would rank others. Raise n_estimators."
    return Finding("seed_stability", agreement, LOOK if agreement >= 0.25 else BAD, message)


def leading_column(names: Names, surprise: np.ndarray) -> Finding:
    """Largest fraction of the most anomalous rows in which one column is the most surprising.

    Parameters
    ----------
    names : sequence
        Names of the columns.
    surprise : ndarray
        (most anomalous rows, columns), nats above the baseline.
    """
    fractions = np.bincount(surprise.argmax(1), minlength=len(names)) / len(surprise)
    first, value = int(fractions.argmax()), float(fractions.max())
    message = (
        f"{names[first]!r} is the most surprising column in {percent(value)} of the {len(surprise):,} most anomalous "
        "training rows"
    )
    if value < 0.9 or len(surprise) < 5:  # one of 42 healthy fits was above; of 5 rows one column may lead by chance
        return Finding("leading_column", value, GOOD, f"{message}, more often than any other.")
    message += ": leave it out or transform it if it should not decide alone."
    return Finding("leading_column", value, LOOK, message)


def silent_columns(names: Names, surprise: np.ndarray) -> Finding:
    """Number of columns that are never the most surprising of a row; ``surprise`` is (rows, columns) in nats."""
    n_rows, n_columns = surprise.shape
    led = np.bincount(surprise.argmax(1), minlength=n_columns)
    found = _chosen(names, (led == 0) & (n_rows >= 20 * n_columns))  # in a short table it may be chance
    if not found:
        return Finding("silent_columns", 0, GOOD, "No column is known never to be the most surprising.")
    message = f"{_columns(found)} {'was' if len(found) == 1 else 'were'} the most surprising in no training row"
    if len(found) < 0.5 * n_columns:
        return Finding("silent_columns", len(found), GOOD, f"{message}.")
    return Finding("silent_columns", len(found), LOOK, f"{message}. Leave out columns that cannot be anomalous.")


def flagged_rows(scores: np.ndarray, offset: float, contamination: str | float) -> Finding:
    """Fraction of the training rows that score below ``offset``; what ``contamination`` asks for is never too much."""
    flagged = float(np.mean(scores < offset))
    expected = 0.0 if contamination == "auto" else float(contamination)
    message = f"{percent(flagged, 1)} of the training rows are flagged."
    if flagged <= max(MANY, 1.1 * expected):
        return Finding("flagged_rows", flagged, GOOD, message)
    verdict = LOOK if flagged <= 0.3 else BAD
    return Finding("flagged_rows", flagged, verdict, f"{message} {hardly_outliers('rows')}")


def p_values(
    scores: np.ndarray,
    contamination: str | float,
    rng: np.random.Generator,
    *,
    in_sample: bool,
    most_anomalies: float = 1.0,
) -> Finding:
    """Fraction of normal rows with a p-value of at most 5 %; each half of the rows is judged by the other half.

    Parameters
    ----------
    scores : ndarray
        (rows,) scores of reference rows.
    contamination : "auto" or float
        Fraction of them that are anomalies.
    rng : numpy.random.Generator
        Draws the halves.
    in_sample : bool
        Training saw the rows, and only exemplars were left out to score them.
    most_anomalies : float
        Largest fraction of anomalies that "auto" may estimate.
    """
    level = 0.05
    if len(scores) < 40:
        least = number(1 / (len(scores) + 1), 2)
        message = f"{len(scores)} rows are too few to check the p-values, of which none is below {least}."
        return Finding("p_values", np.nan, LOOK, message)

    def false_alarm_rate(reference: np.ndarray, new: np.ndarray) -> float:
        """Fraction of the normal rows in ``new`` with a small p-value, if every anomaly has one."""
        calibration = calibrate(
            reference, contamination=contamination, extrapolate=False, most_anomalies=most_anomalies
        )
        flagged = np.mean(calibration.p_values(new) <= level)
        return max(0.0, float((flagged - calibration.contamination) / (1 - calibration.contamination)))

    one, other = np.array_split(rng.permutation(scores), 2)
    rate = (false_alarm_rate(one, other) + false_alarm_rate(other, one)) / 2
    standard_error = (level * (1 - level) / len(scores)) ** 0.5
    message = f"{percent(rate, 1)} of normal rows have a p-value of 5 % or less"
    if rate > level + 3 * standard_error + 0.02:  # 0.02: near enough for a person
        message += ", which is too many: set contamination to the fraction of anomalous rows."
        return Finding("p_values", rate, LOOK, message)
    if in_sample:
        message += ", measured on rows that training saw: calibration='cross' or 'split' uses unseen ones."
        return Finding("p_values", rate, LOOK, message)
    return Finding("p_values", rate, GOOD, f"{message}.")


def _why(shared: float, remedy: str) -> str:
    """End of a message: why nothing was learned, or what helps."""
    if shared < INFORMATIVE:
        return (
            f". The columns share {_amount(shared)} of information a row by their ranks: there may be nothing to learn."
        )
    return f", though the columns share {_amount(shared)} of information a row. Take {remedy}."


def _chosen(names: Names, chosen: np.ndarray) -> list[str | int]:
    return [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]


def _columns(names: Names) -> str:
    return f"{counted(len(names), 'columns')} ({listed_names(names, 3)})"


def _amount(value: float, unit: str = "nats") -> str:
    return f"{nats(value, 1)} {unit}"
