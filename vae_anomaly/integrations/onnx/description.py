"""What a graph says of itself: all that is needed to score a table with it where this package is not installed."""

from importlib.metadata import version
from typing import Any

from vae_anomaly.data.columns import CategoryColumn, Column, DateColumn, NumberColumn
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.fitted import FittedModel

KEY = "vae_anomaly"  # of the graph's metadata, under which the description stands as JSON
FORMAT = 1  # raised when a reader of an older one would go wrong
UNITS = {"date": "microseconds since 1970-01-01 in UTC", "duration": "seconds"}


def describe(fitted: FittedModel) -> dict[str, Any]:
    """The description in JSON's own types.

    ``columns`` are the inputs in their order, each with name and kind; a category has its levels, the code of each, and
    the code of any other value. ``threshold`` is the anomaly score beyond which a row is odd.
    """
    return {
        "format": FORMAT,
        "columns": _columns(fitted),
        "threshold": -fitted.record.offset,
        "bound": fitted.scorer.objective.bound if fitted.architecture.variational else "squared error",
        "unit": "nats" if fitted.architecture.variational else "squared deviations",
        "rows": "new: a row that was in training explains itself" if fitted.architecture.exemplars else "any",
        "fitted_with": fitted.record.versions,
        "exported_with": {name: version(name) for name in ("vae-anomaly", "torch", "onnx", "onnxscript")},
    }


def _columns(fitted: FittedModel) -> list[dict[str, Any]]:
    schema = fitted.schema
    if isinstance(schema, PixelSchema):
        return [{"name": name, "kind": "pixel"} for name in schema.names]
    return [_column(column) for column in schema.columns]


def _column(column: Column) -> dict[str, Any]:
    described = {"name": column.name, "kind": column.kind}
    match column:
        case CategoryColumn():
            codes = list(column.codes.values())
            return {**described, "levels": list(column.levels), "codes": codes, "unseen": column.n_codes}
        case DateColumn():
            return {**described, "unit": UNITS["date"]}
        case NumberColumn() if column.is_duration:
            return {**described, "unit": UNITS["duration"]}
    return described
