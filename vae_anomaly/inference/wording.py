"""What a difference between training rows and new ones is, in a sentence."""

import numpy as np

from vae_anomaly.inference.two_samples import Difference
from vae_anomaly.tables import PixelSchema, Schema

TELLING = 0.5  # of an effect that a shift or a spread must account for, to be what is said of it
ATOM = 0.1  # of the rows in one value, whose share is then more telling than a spread
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def of_missing(difference: Difference) -> str:
    """How much is missing."""
    return f"missing in {_shares(difference)} of the rows"


def of_numbers(schema: Schema | PixelSchema, cell: int, old: np.ndarray, new: np.ndarray, found: Difference) -> str:
    """How far numbers moved, in training deviations; else how they spread; else where their shares differ most.

    A shift by d deviations of a normal density moves 0.40 d of it, a spread r times as wide 0.24 log r.
    """
    kind = schema.kinds[schema.cells[cell].column]
    shift, deviation = np.median(new) - np.median(old), old.std()
    quartiles = [np.subtract(*np.quantile(sample, [0.75, 0.25])) for sample in (old, new)]
    ratio = quartiles[1] / quartiles[0] if min(quartiles) > 0 else 1.0
    by_shift = 0.4 * abs(shift) / deviation if deviation else 0.0
    by_spread = 0.24 * abs(np.log(ratio))
    if by_shift >= max(TELLING * found.effect, by_spread):
        return f"{_towards(kind, shift)} by {_deviations(abs(shift) / deviation)}"
    if by_spread >= TELLING * found.effect and _atom(old) < ATOM:
        return f"spread {ratio:.2g} times as wide"
    return f"up to {_spell(schema, cell, found.place)}: {_shares(found)} of the rows"


def of_codes(schema: Schema | PixelSchema, cell: int, found: Difference) -> str:
    """Whose share changed most."""
    return f"{_spell(schema, cell, found.place)}: {_shares(found)} of the rows"


def of_scores(old: np.ndarray, new: np.ndarray, found: Difference) -> str:
    """How the anomaly scores moved, in nats; else where their shares differ most. Low scores are odd."""
    before, after = -np.median(old), -np.median(new)
    if 0.4 * abs(after - before) >= TELLING * found.effect * old.std():
        return f"rows are {'odder' if after > before else 'less odd'}: median from {before:.3g} to {after:.3g} nats"
    return f"anomaly score over {-found.place:.3g} nats: {_shares(found)} of the rows"


def _atom(sample: np.ndarray) -> float:
    """Share of the most common value."""
    return float(np.unique(sample, return_counts=True)[1].max() / len(sample))


def _towards(kind: str, shift: float) -> str:
    rising, falling = {"date": ("later", "earlier"), "pixel": ("brighter", "darker")}.get(kind, ("up", "down"))
    return f"shifted {rising if shift > 0 else falling}"


def _deviations(count: float) -> str:
    return f"{count:.2g} deviation{'' if f'{count:.2g}' == '1' else 's'}"


def _shares(found: Difference) -> str:
    """Shares before and after, with as many digits as tell them apart."""
    digits = next((d for d in (0, 1, 2) if f"{found.before:.{d}%}" != f"{found.after:.{d}%}"), 3)
    return f"{found.before:.{digits}%}, now {found.after:.{digits}%}"


def _spell(schema: Schema | PixelSchema, cell: int, value: float) -> str:
    """What a cell's value stands for in the table."""
    about = schema.cells[cell]
    kind, name = schema.kinds[about.column], schema.names[about.column]
    if about.kind == "code" and kind == "date":
        return WEEKDAYS[int(value)] if about.n_codes == len(WEEKDAYS) else f"hour {value:.0f}"
    if about.kind != "number" and value == about.unseen:
        return "values never seen in training"
    row = np.full((1, len(schema.cells)), np.nan)
    row[0, cell] = value
    found = schema.decode(row)[name].iloc[0]
    if about.kind == "number":
        return f"{found:.4g}" if isinstance(found, float) else str(found)
    shared = about.kind == "code" and about.spread[int(value)] > 0
    return f"{found} and rarer values" if shared else str(found)
