"""Write a fitted detector as an ONNX graph, after checking that the graph scores as the detector does.

The graph has one input, ``rows`` (rows, columns) in float64, the plain numbers of a table, and two outputs,
``anomaly_score`` and ``is_anomaly``, each (rows,). Its metadata describes them under the key ``vae_anomaly``, in JSON:
see `describe`.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vae_anomaly.data.columns import (
    CategoryColumn,
    CodeCell,
    Column,
    DateColumn,
    DurationColumn,
    FlagCell,
    NumberColumn,
    TimeColumn,
)
from vae_anomaly.data.parse import UNREADABLE
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.schema import Schema
from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import ExportError
from vae_anomaly.fitted import FittedModel
from vae_anomaly.formatting import listed_names
from vae_anomaly.integrations.onnx.graph import trace
from vae_anomaly.io.atomic import whole_file
from vae_anomaly.lazy import require_extra

if TYPE_CHECKING:
    from onnx import ModelProto

FORMAT = 1  # of the description; raised if a reader of an older one would misread it
TOLERANCE = 1e-4  # relative to a score, or absolute for scores below one nat


def export(detector: VAEDetector, path: str | os.PathLike[str]) -> float:
    """Write a fitted detector as an ONNX graph, which scores rows without Python or torch.

    The graph includes the standardisation, the fixed draws of the score and the threshold; its metadata has the
    category levels, the order of the columns and the threshold. All rows are compared with all
    exemplars at once, so score a long table in parts: 1,000 rows and 20,000 exemplars take 160 MB for each member.

    Parameters
    ----------
    detector : VAEDetector
        Fitted to a table or to images; convolutional networks are not exported.
    path : path-like
        File to write, whole or not at all.

    Returns
    -------
    float
        Largest difference between scores of the graph and of the detector, relative to the score or to one nat,
        whichever is larger. Compared are up to 512 of the training rows that the model keeps, and the same rows with
        missing and unreadable cells, extreme numbers and unseen categories.

    Raises
    ------
    ExportError
        The model has convolutional networks or columns of times of day, or the graph's scores differ by more than 1e-4.
    MissingExtraError
        onnx, onnxscript or onnxruntime is not installed.
    """
    require_extra("onnx", "ONNX needs {}", "onnx", "onnxscript", "onnxruntime")
    fitted = detector.model_
    if fitted.architecture.convolutional:
        raise ExportError("Convolutional networks are not exported. Fit with purpose='detection' to score images.")
    if times := [column.name for column in fitted.schema.columns if isinstance(column, TimeColumn)]:
        raise ExportError(
            f"Times of day are not exported: {listed_names(times)}. Fit without them, or with the hours as numbers."
        )
    model = _graph(fitted).SerializeToString()
    difference = _largest_difference(model, fitted)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"The graph's scores differ from the detector's by {difference:.1g} of the score; at most "
            f"{TOLERANCE:.0e} is allowed. Nothing was written. A detector with precision='float64' may be closer."
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(model)
    return difference


def _graph(fitted: FittedModel) -> "ModelProto":
    """The graph with its description, without the paths of source files that torch adds to every node."""
    from vae_anomaly.integrations.onnx import translation

    with _silent_export():
        program = torch.onnx.export(
            trace(fitted),
            input_names=["rows"],
            output_names=["anomaly_score", "is_anomaly"],
            opset_version=translation.OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=translation.TABLE,
        )
    assert program is not None  # it would be, had a file been named
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.producer_name, model.producer_version = "vae-anomaly", version("vae-anomaly")
    model.metadata_props.add(key="vae_anomaly", value=json.dumps(describe(fitted), ensure_ascii=False))
    return model


@contextmanager
def _silent_export() -> Iterator[None]:
    """Hide messages of torch.onnx about itself: its deprecations, a missing torchvision, operations that it kept."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _largest_difference(model: bytes, fitted: FittedModel) -> float:
    """Largest relative difference between scores of the graph and of the detector."""
    import onnxruntime

    numbers, x = comparison_rows(fitted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["anomaly_score"], {"rows": numbers})
    expected = -fitted.scorer.score(x)
    return float((np.abs(scores - expected) / np.maximum(np.abs(expected), 1.0)).max())


def comparison_rows(fitted: FittedModel) -> tuple[np.ndarray, np.ndarray]:
    """Rows to compare, as plain numbers (rows, columns) and as cells (rows, cells).

    The first half are up to 512 of the rows that the model keeps. The second half are the same rows, corrupted: a tenth
    of the cells is missing, a tenth of the numbers extreme, and a tenth of the numbers unreadable, of the flags and
    categories unseen.
    """
    schema, rng, fraction = fitted.schema, np.random.default_rng(0), 0.1
    kept = fitted.reference.cells
    intact = kept[np.linspace(0, len(kept) - 1, min(len(kept), 512)).astype(int)]
    are_numbers = np.array([isinstance(schema.columns[cell.column], NumberColumn) for cell in schema.cells])
    extreme = np.where(are_numbers, np.copysign(15.0, intact), intact)  # in the log-compressed tails
    chance = rng.random(intact.shape)
    corrupted = np.where(chance < fraction, np.nan, np.where(chance < 2 * fraction, extreme, intact))
    table = schema.decode(np.concatenate([intact, corrupted]))
    numbers, x = schema.as_numbers(table), schema.encode(table)
    for index, cell in enumerate(schema.cells):
        if isinstance(schema, Schema) and are_numbers[index]:
            rows = len(intact) + np.flatnonzero(rng.random(len(corrupted)) < fraction)
            numbers[rows, cell.column] = x[rows, index] = UNREADABLE
        if isinstance(cell, FlagCell) or (isinstance(cell, CodeCell) and cell.part is None):
            rows = len(intact) + np.flatnonzero(rng.random(len(corrupted)) < fraction)
            numbers[rows, cell.column] = x[rows, index] = cell.unseen
    return numbers, x


def describe(fitted: FittedModel) -> dict[str, Any]:
    """Everything that is needed to score a table with the graph where this package is not installed, in JSON's types.

    ``columns`` are the inputs in their order, each with name and kind; a category has its levels, the code of each, and
    the code of all other values. ``threshold`` is the anomaly score beyond which a row is anomalous.
    """
    schema, architecture = fitted.schema, fitted.architecture
    if isinstance(schema, PixelSchema):
        columns: list[dict[str, Any]] = [{"name": name, "kind": "pixel"} for name in schema.names]
    else:
        columns = [_describe_column(column) for column in schema.columns]
    return {
        "format": FORMAT,
        "columns": columns,
        "threshold": -fitted.record.offset,
        "bound": fitted.scorer.objective.bound if architecture.variational else "squared error",
        "unit": "nats" if architecture.variational else "squared deviations",
        "fitted_with": fitted.record.versions,
        "exported_with": {name: version(name) for name in ("vae-anomaly", "torch", "onnx", "onnxscript")},
    }


def _describe_column(column: Column) -> dict[str, Any]:
    description = {"name": column.name, "kind": column.kind}
    match column:
        case CategoryColumn():
            codes = list(column.codes.values())
            return {**description, "levels": list(column.levels), "codes": codes, "unseen": column.n_codes}
        case DateColumn():
            return {**description, "unit": "microseconds since 1970-01-01 in UTC"}
        case DurationColumn():
            return {**description, "unit": "seconds"}
    return description
