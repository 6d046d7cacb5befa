"""Write a fitted detector as an ONNX graph, once it is known to score as the detector does.

The graph goes from a table's plain numbers, ``rows`` (rows, columns) in float64, to ``anomaly_score`` and
``is_anomaly``, each (rows,). What the numbers are, its metadata tells under the key ``vae_anomaly``, in JSON; see
`vae_anomaly.integrations.onnx.description`.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

from vae_anomaly.data.columns import CodeCell, FlagCell, NumberColumn
from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import ExportError, MissingExtraError
from vae_anomaly.fitted import FittedModel
from vae_anomaly.integrations.onnx.description import KEY, describe
from vae_anomaly.integrations.onnx.graph import traced
from vae_anomaly.io.atomic import whole_file

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-4  # of a score, or of one nat where the score is smaller
PROBED = 512  # reference rows that are scored both ways as they are, and as many with cells spoilt
SPOILT = 0.2  # of the cells of a spoilt row
FAR = 15.0  # deviations, in the tails of a standardised number


def export(detector: VAEDetector, path: str | os.PathLike[str]) -> float:
    """Write a fitted detector as an ONNX graph, for scores without Python or torch.

    Standardisation, the score's fixed draws, and the threshold are inside the graph; category levels, the order of the
    columns and the threshold are in its metadata. The rows to score are taken for new ones: in outlier detection a row
    that was in training explains itself, which the detector's own scores prevent. All rows are compared with all
    exemplars at once, so score a long table in parts: 1,000 rows by 20,000 exemplars take 160 MB for each member.

    Parameters
    ----------
    detector : VAEDetector
        Fitted, to a table or to images; codes of images (convolutional nets) are not exported.
    path : path-like
        File to write, whole or not at all.

    Returns
    -------
    float
        Largest difference between a score of the graph and one of the detector on the rows that were compared, in
        parts of the score or of one nat, whichever is larger: up to 512 of the training rows that the model keeps, and
        the same rows with cells missing, far off, or never seen.

    Raises
    ------
    ExportError
        The model has convolutional nets, or the graph's scores differ by more than 1e-4.
    MissingExtraError
        onnx, onnxscript or onnxruntime is not installed.
    """
    _require_extra()
    fitted = detector.model_
    if fitted.architecture.convolutional:
        raise ExportError("Convolutional nets are not exported. Fit with purpose='detection' to score images.")
    model = _graph(fitted).SerializeToString()
    difference = _difference(model, fitted)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"The graph's scores differ from the detector's by {difference:.1g} of the score; {TOLERANCE:.0e} is the "
            "most allowed. Nothing was written. A detector with precision='float64' may come closer."
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(model)
    return difference


def _require_extra() -> None:
    try:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_module(package)
    except ModuleNotFoundError as error:
        message = f'ONNX needs {error.name}, which is not installed. Run: pip install "vae-anomaly[onnx]"'
        raise MissingExtraError(message) from error


def _graph(fitted: FittedModel) -> "ModelProto":
    """The graph with its description, without the paths of source files that torch leaves at every node."""
    from vae_anomaly.integrations.onnx import translation

    with _quiet():
        program = torch.onnx.export(
            traced(fitted),
            input_names=["rows"],
            output_names=["anomaly_score", "is_anomaly"],
            opset_version=translation.OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=translation.TABLE,
        )
    assert program is not None  # it is where no file is named
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.producer_name, model.producer_version = "vae-anomaly", version("vae-anomaly")
    model.metadata_props.add(key=KEY, value=json.dumps(describe(fitted), ensure_ascii=False))
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch.onnx says of itself: its own deprecations, torchvision missing, what it did not fold."""
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


def _difference(model: bytes, fitted: FittedModel) -> float:
    """Largest difference between scores of the graph and ours, in parts of ours."""
    import onnxruntime

    numbers, x = probe(fitted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["anomaly_score"], {"rows": numbers})
    ours = -replace(fitted.scorer, leave_one_out=False).score(x)
    return float((np.abs(found - ours) / np.maximum(np.abs(ours), 1.0)).max())


def probe(fitted: FittedModel) -> tuple[np.ndarray, np.ndarray]:
    """Rows to compare, as plain numbers (rows, columns) and as cells (rows, cells).

    Some that the model keeps, and the same again with cells missing, far off, or never seen.
    """
    schema, rng = fitted.schema, np.random.default_rng(0)
    kept = fitted.reference.cells
    whole = kept[np.linspace(0, len(kept) - 1, min(len(kept), PROBED)).astype(int)]
    movable = np.array([isinstance(schema.columns[cell.column], NumberColumn) for cell in schema.cells])
    far = np.where(movable, np.copysign(FAR, whole), whole)
    fate = rng.random(whole.shape)
    spoilt = np.where(fate < SPOILT / 2, np.nan, np.where(fate < SPOILT, far, whole))
    table = schema.decode(np.concatenate([whole, spoilt]))
    numbers, x = schema.as_numbers(table), schema.encode(table)
    for place, cell in enumerate(schema.cells):
        if isinstance(cell, FlagCell) or (isinstance(cell, CodeCell) and cell.part is None):
            rows = len(whole) + np.flatnonzero(rng.random(len(spoilt)) < SPOILT / 2)
            numbers[rows, cell.column] = x[rows, place] = cell.unseen
    return numbers, x
