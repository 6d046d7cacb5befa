"""Is a model any good? Each check takes arrays, measures one figure, and says in one sentence what it means.

"bad" says that the model does not do what it is for, "look" that a person should judge. The thresholds lie between what
42 fits with the defaults gave (ADBench's 21 tables, at most 3,000 rows, both settings) and models made to be ill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vae_anomaly.fitted import LatentSummary
from vae_anomaly.formatting import counted, listed, listed_names, nats, number, percent
from vae_anomaly.scoring.calibration import calibrate

GOOD, LOOK, BAD = "good", "look", "bad"
Names = Sequence[str | int]

FEWEST_ROWS, FEW_ROWS = 10, 50  # of any table; below the first there is not even an exemplar prior
ROWS_A_COLUMN = 5.0
IDENTIFYING = 0.5  # values of a category for each row
FEW_LEVELS = 20  # values that make no identifier, however few the rows
LOST = 0.5  # share of the way up that training went down again; at most 0.33
RISEN = 0.05  # share of the way up in the second half; where it was more, twice the steps gained more
FALLEN = 10.0  # nats a column that the last round was below the weights kept; a fit with the defaults ends above -1
LEAST_LOSS, LEAST_RISE = 1.0, 0.5  # nats a row, below which neither matters
CARRIED = 0.1  # nats a row in all latents together: less tells no row from another
DEPENDENT = 0.5  # nats a row between the columns: less is hardly there to be learned
WORSE = 1.0  # nats a column below independent columns; at most 0.8 with the defaults
COIN, BIASED = 0.58, 0.65  # how often a row beats a shuffled one; 0.5 is chance
ODDEST = 0.05  # share of the rows that a person would look at
AGREED, HARDLY_AGREED = 0.5, 0.25  # share of the oddest rows that members have in common; at least 0.68
FEW_ODDEST = 5  # rows, of which one column may lead all by chance
LED = 0.9  # share of the oddest rows in which one column is the most surprising; above it once in 42
SILENT, OFTEN = 0.5, 20  # share of columns that never lead, though each in its turn would have led so many rows
FLAGGED, MOST_FLAGGED = 0.15, 0.3  # share of training rows; Tukey's fence flags at most 0.25
FEW_JUDGES = 40  # rows that say what a p-value of 5 % is
LEVEL, UNSURE, ROUGHLY = 0.05, 3.0, 0.02  # a p-value, standard errors, and what is near enough
NAMED = 3  # columns in a sentence
SHOWN = 16  # latents in a sentence


@dataclass(frozen=True)
class Finding:
    """What was looked at, the figure, "good", "look" or "bad", and one sentence."""

    check: str
    value: float
    verdict: str
    message: str


def oddest(scores: np.ndarray) -> np.ndarray:
    """Places of the oddest rows, those that a person would look at, the oddest first."""
    return np.argsort(scores, kind="stable")[: max(1, round(ODDEST * len(scores)))]


def rows_per_column(n_rows: int, n_columns: int, *, images: bool) -> Finding:
    """Whether there are rows enough. Pixels depend on their neighbours: of images only the number counts."""
    figure = n_rows / n_columns
    sparse = figure < ROWS_A_COLUMN and not images
    told = f"{n_rows:,} rows of {n_columns:,} {'pixels' if images else 'columns'}"
    if n_rows < FEWEST_ROWS or (sparse and n_rows <= n_columns):
        remedy = "are too few to learn from: fit on more rows, or leave columns out."
        return Finding("rows_per_column", figure, BAD, f"{told} {remedy}")
    if n_rows < FEW_ROWS or sparse:
        remedy = (
            "are few, and the model may follow their chance: more rows, fewer columns or a smaller n_components help."
        )
        return Finding("rows_per_column", figure, LOOK, f"{told} {remedy}")
    return Finding("rows_per_column", figure, GOOD, f"{told} are enough to learn from.")


def constant_columns(names: Names, constant: np.ndarray) -> Finding:
    """Columns of one value in training; ``constant`` (columns,) says which."""
    found = _chosen(names, constant)
    if not found:
        return Finding("constant_columns", 0, GOOD, "Every column had more than one value in training.")
    told = f"{_named(found)} had one value in training, so that any other counts as very odd. "
    return Finding("constant_columns", len(found), LOOK, f"{told}Leave it out if that is not meant.")


def identifiers(names: Names, levels: np.ndarray, n_rows: int) -> Finding:
    """Categories that nearly name the row; ``levels`` (columns,) is how many values each has, 0 for other columns."""
    share = levels / n_rows
    found = _chosen(names, (share > IDENTIFYING) & (levels > FEW_LEVELS))
    figure = float(share.max(initial=0.0))
    if not found:
        return Finding("identifiers", figure, GOOD, "No category has nearly as many values as there are rows.")
    told = f"{_named(found)} nearly had another value in each row, as an identifier has. Leave it out."
    return Finding("identifiers", figure, LOOK, told)


def training(objective: np.ndarray, last: float, kept: float, n_columns: int, unit: str = "nats") -> Finding:
    """Whether training diverged.

    Parameters
    ----------
    objective : ndarray
        (rounds,) of what was to be made large, per row.
    last : float
        Score of training rows in the last round.
    kept : float
        Mean score of the usual training rows under the weights that were kept, which may be those of the start.
    n_columns : int
        Columns, each of which may have cost a few nats less in the last round.
    unit : str
        Of all of these.
    """
    lost, way = float(objective.max() - objective[-1]), float(np.ptp(objective))
    if lost > max(LEAST_LOSS, LOST * way) or kept - last > FALLEN * n_columns:
        lost = max(lost, kept - last)
        told = f"Training diverged: it ended {_amount(lost, unit)} below its best. Take a smaller learning_rate."
        return Finding("training", lost, BAD, told)
    return Finding("training", lost, GOOD, f"Training ended within {_amount(lost, unit)} of its best.")


def held_out_elbo(elbo: np.ndarray, *, ended: bool, meant: bool, unit: str = "nats") -> Finding:
    """Whether training was cut short.

    The rate falls to zero with the steps, so the last of them always gain little: the second half of all is judged.

    Parameters
    ----------
    elbo : ndarray
        (rounds,) of held-out rows, in nats a row.
    ended : bool
        Whether all steps were done, rather than stopped when nothing more was gained.
    meant : bool
        Whether ``max_iter`` is short on purpose.
    """
    rise, way = float(elbo.max() - elbo[: len(elbo) // 2 + 1].max()), float(np.ptp(elbo))
    told = f"The second half of training gained held-out rows {_amount(rise, unit)}"
    if elbo.argmax() == 0 and way > LEAST_LOSS:
        told = f"Training made held-out rows less probable from its first round on, by {_amount(way, unit)}"
        return Finding(
            "held_out_elbo", rise, LOOK, f"{told}; the weights before were kept. Take a smaller learning_rate."
        )
    if not ended or rise < max(LEAST_RISE, RISEN * way):
        return Finding("held_out_elbo", rise, GOOD, "Held-out rows had stopped gaining when training ended.")
    if meant:
        return Finding(
            "held_out_elbo", rise, GOOD, f"{told}; 'auto' stops there, for more steps tell odd rows no better."
        )
    return Finding("held_out_elbo", rise, LOOK, f"{told}, and it was not over: take a larger max_iter.")


def active_latents(members: Sequence[LatentSummary], known: float) -> Finding:
    """Whether the posterior of every member has collapsed: then the codes are the same for all rows.

    The figure is that of the member with the most; ``known`` is how many nats a row the columns say of one another.
    """
    n_active, n_latents = max(int(latents.active.sum()) for latents in members), len(members[0].mean)
    alive = [
        latents.active.any() and (not any(latents.posterior_std) or sum(latents.kl) >= CARRIED) for latents in members
    ]
    if any(alive):
        some = "" if all(alive) else f" ({alive.count(False)} of {len(members)} members have none, and add little)"
        return Finding("active_latents", n_active, GOOD, f"{n_active} of {n_latents} latents tell rows apart{some}.")
    told = f"The posterior has collapsed: the {n_latents} latents hardly tell one row from another"
    if known < DEPENDENT:
        told += f". By their ranks the columns share {_amount(known)} a row: there may be nothing to tell."
        return Finding("active_latents", n_active, LOOK, told)
    told += f", though the columns share {_amount(known)} a row. Take a smaller beta, such as 0.3."
    return Finding("active_latents", n_active, BAD, told)


def latent_nats(latents: LatentSummary) -> Finding:
    """What each latent carries."""
    total = float(sum(latents.kl))
    each = listed((nats(kl, 1) for kl in latents.kl), SHOWN)
    verdict = GOOD if total >= CARRIED else LOOK
    return Finding("latent_nats", total, verdict, f"The latents carry {_amount(total)} a row: {each}.")


def independent_columns(
    scores: np.ndarray, margins: np.ndarray, known: float, n_columns: int, *, remedy: str
) -> Finding:
    """Whether the model knows more than the margins.

    Parameters
    ----------
    scores : ndarray
        (rows,) of usual training rows, none of which explains itself.
    margins : ndarray
        (rows,) log density of the same rows under independent columns, likeliest for these rows.
    known : float
        How many nats a row the columns say of one another.
    n_columns : int
        Columns, of which each costs some nats where nothing is found.
    remedy : str
        The parameter that helps, and its value.
    """
    gain = float(np.mean(scores - margins))
    if gain > 0:
        told = f"Usual rows score {_amount(gain)} above what independent columns give them."
        return Finding("independent_columns", gain, GOOD, told)
    told = f"As a density the model is no better than the margins: usual rows score {_amount(-gain)} below them"
    if gain < -max(1.0, WORSE * n_columns):
        told += ". Take a smaller learning_rate or beta, or a larger max_iter."
        return Finding("independent_columns", gain, BAD, told)
    return Finding("independent_columns", gain, LOOK, told + _reason(known, remedy))


def shuffled_columns(scores: np.ndarray, shuffled: np.ndarray, known: float, *, remedy: str) -> Finding:
    """Whether the model sees what joins the columns; ``shuffled`` (rows,) are scores of rows put together at random."""
    order = np.sort(shuffled)
    below = (np.searchsorted(order, scores) + np.searchsorted(order, scores, side="right")) / 2
    share = float(below.mean() / len(order))
    told = f"A row scores above one whose values come from many rows in {percent(share)} of pairs, where chance is 50 %"
    if share >= BIASED:
        return Finding("shuffled_columns", share, GOOD, f"{told}.")
    told = f"The model knows next to nothing beyond the margins: {told[0].lower()}{told[1:]}"
    blind = share < COIN and known >= DEPENDENT
    return Finding("shuffled_columns", share, BAD if blind else LOOK, told + _reason(known, remedy))


def seed_stability(by_member: np.ndarray) -> Finding:
    """Whether another seed would find the same rows; ``by_member`` (members, rows) are scores of unlike seeds."""
    if len(by_member) < 2:
        told = "There is one member, so nothing tells what another seed would rank first: n_estimators=3 would."
        return Finding("seed_stability", np.nan, LOOK, told)
    members = [set(oddest(scores).tolist()) for scores in by_member]
    most = len(members[0])
    agreed = float(np.mean([len(one & other) / most for one, other in combinations(members, 2)]))
    told = f"Two members have {percent(agreed)} of their {most:,} oddest training rows in common"
    if agreed >= AGREED:
        return Finding("seed_stability", agreed, GOOD, f"{told}.")
    verdict = LOOK if agreed >= HARDLY_AGREED else BAD
    return Finding("seed_stability", agreed, verdict, f"{told}; another seed would rank others. Raise n_estimators.")


def leading_column(names: Names, surprise: np.ndarray) -> Finding:
    """Whether one column decides which rows are odd; ``surprise`` (oddest rows, columns) is nats above the usual."""
    led = np.bincount(surprise.argmax(1), minlength=len(names)) / len(surprise)
    first, share = int(led.argmax()), float(led.max())
    rows = f"{len(surprise):,} oddest training rows"
    told = f"{names[first]!r} is the most surprising column in {percent(share)} of the {rows}"
    if share < LED or len(surprise) < FEW_ODDEST:
        return Finding("leading_column", share, GOOD, f"{told}, no other in more.")
    return Finding(
        "leading_column", share, LOOK, f"{told}: leave it out or transform it if it should not decide alone."
    )


def silent_columns(names: Names, surprise: np.ndarray) -> Finding:
    """Columns that are never the most surprising; in a short table that says nothing."""
    rows, columns = surprise.shape
    led = np.bincount(surprise.argmax(1), minlength=columns)
    found = _chosen(names, (led == 0) & (rows >= OFTEN * columns))
    if not found:
        return Finding("silent_columns", 0, GOOD, "No column is known never to be the most surprising.")
    told = f"{_named(found)} never led: in no training row was one of them the most surprising column"
    if len(found) < SILENT * columns:
        return Finding("silent_columns", len(found), GOOD, f"{told}.")
    return Finding("silent_columns", len(found), LOOK, f"{told}. Leave out what cannot be odd.")


def flagged_rows(scores: np.ndarray, offset: float, contamination: str | float) -> Finding:
    """Whether more training rows are flagged than can be odd; a share that was asked for is never too high."""
    share = float(np.mean(scores < offset))
    asked = 0.0 if contamination == "auto" else float(contamination)
    told = f"{percent(share, 1)} of the training rows lie beyond the threshold"
    if share <= max(FLAGGED, 1.1 * asked):
        return Finding("flagged_rows", share, GOOD, f"{told}.")
    verdict = LOOK if share <= MOST_FLAGGED else BAD
    told += ", more than are odd in most tables: set contamination to the share that you expect."
    return Finding("flagged_rows", share, verdict, told)


def p_values(scores: np.ndarray, contamination: str | float, rng: np.random.Generator, *, seen: bool) -> Finding:
    """Whether normal rows get p-values as small as they should: half of the rows judge the others.

    The figure is the share of normal rows whose p-value is at most 5 %.

    Parameters
    ----------
    scores : ndarray
        (rows,) of reference rows.
    contamination : "auto" or float
        Share of them that are anomalies.
    rng : numpy.random.Generator
        Draws the halves.
    seen : bool
        Whether training saw the rows, and nothing but exemplars was left out to score them.
    """
    if len(scores) < FEW_JUDGES:
        least = number(1 / (len(scores) + 1), 2)
        told = f"{len(scores)} rows are too few to tell whether p-values hold; none is below {least}."
        return Finding("p_values", np.nan, LOOK, told)
    one, other = np.array_split(rng.permutation(scores), 2)
    rate = (_false_alarms(one, other, contamination) + _false_alarms(other, one, contamination)) / 2
    told = f"{percent(rate, 1)} of normal rows have a p-value of 5 % or less"
    if rate > LEVEL + UNSURE * (LEVEL * (1 - LEVEL) / len(scores)) ** 0.5 + ROUGHLY:
        return Finding(
            "p_values", rate, LOOK, f"{told}, which is too many: set contamination to the share that is odd."
        )
    if seen:
        told += ", but training saw the rows that say so"
        return Finding("p_values", rate, LOOK, f"{told}: calibration='cross' or 'split' judges by unseen ones.")
    return Finding("p_values", rate, GOOD, f"{told}.")


def _false_alarms(reference: np.ndarray, scores: np.ndarray, contamination: str | float) -> float:
    """Share of the normal rows among ``scores`` whose p-value is at most 5 %, if every anomaly has so small a one."""
    calibration = calibrate(reference, contamination=contamination, extrapolate=False)
    flagged = np.mean(calibration.p_values(scores) <= LEVEL)
    return max(0.0, float((flagged - calibration.contamination) / (1 - calibration.contamination)))


def _reason(known: float, remedy: str) -> str:
    """Why nothing was learned, and what helps."""
    if known < DEPENDENT:
        return f". By their ranks the columns share {_amount(known)} a row: there may be nothing more to know."
    return f", though the columns share {_amount(known)} a row. Take {remedy}."


def _chosen(names: Names, which: np.ndarray) -> list[str | int]:
    return [name for name, chosen in zip(names, which, strict=True) if chosen]


def _named(found: list[str | int]) -> str:
    return f"{counted(len(found), 'columns')} ({listed_names(found, NAMED)})"


def _amount(figure: float, unit: str = "nats") -> str:
    return f"{nats(figure, 1)} {unit}"
