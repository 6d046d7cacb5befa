"""Model files: a safetensors file whose header holds everything except the tensors as JSON. Nothing in it is executed.

The JSON holds a format number and a digest of each tensor; the header also has the digest of the JSON, because
safetensors has no checksums. Digests detect damage, but not a forger who rewrites them. A forged file can give wrong
scores, but it cannot run code.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vae_anomaly.errors import DataError, ModelFileError
from vae_anomaly.io.atomic import whole_file

FORMAT = 3
DOCUMENT, DIGEST = "vae_anomaly", "sha256"  # keys in the header
MAX_HEADER_BYTES = 64 * 2**20
MAX_VALUES = 2**21  # in the header; so many Python objects take up to 0.7 GB


def write_model(path: str | os.PathLike[str], document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write a model file, which appears complete or not at all.

    Parameters
    ----------
    path : path-like
        Target; an existing file stays as it is if writing fails.
    document : dict
        JSON types only.
    tensors : dict of ndarray
        Arrays by name.

    Raises
    ------
    OutputError
        If the file cannot be written.
    DataError
        If the file could not be read again, because the description is too long.
    """
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    digests = {name: _digest(array) for name, array in arrays.items()}
    text = json.dumps({"format": FORMAT, **document, "digests": digests}, allow_nan=False)
    metadata = {DOCUMENT: text, DIGEST: hashlib.sha256(text.encode()).hexdigest()}
    content = save(arrays, metadata)
    size = int.from_bytes(content[:8], "little")
    header = _ordered(content[8 : 8 + size])
    if not _is_bounded(header):
        raise DataError(
            f"{path} could not be read again: the description of the table takes more than 64 MiB, or has more than "
            "2 million entries. Leave out text columns with very many distinct values."
        )
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for part in (content[:8], header, memoryview(content)[8 + size :]):
            file.write(part)


def _ordered(header: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in random order, so that the same model gives the same bytes."""
    found = json.loads(header)
    found["__metadata__"] = dict(sorted(found["__metadata__"].items()))
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > len(header):  # this version of safetensors writes JSON differently: keep its order
        return header
    return text.ljust(len(header))


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Document and tensors of a model file, after all digests are verified.

    Raises
    ------
    ModelFileError
        If there is no such file, or it is truncated, altered, not a model file, or of an unknown format.
    """
    try:  # before it is parsed
        header = _header(Path(path))
    except OSError as error:
        raise ModelFileError(f"Cannot read the model {str(path)!r}: {error.strerror}. Check the name.") from error
    except ValueError as error:
        raise ModelFileError(f"Cannot read the model {str(path)!r}: no file can have this name.") from error
    if header is None:
        raise ModelFileError(f"{path} is truncated or not a model file. Save the model again with VAEDetector.save.")
    try:
        with safe_open(path, framework="numpy") as file:
            document = _document(file.metadata() or {}, path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, UnicodeDecodeError, TypeError, AttributeError) as error:  # the last two: bfloat16
        raise ModelFileError(f"{path} is damaged or not a model file: {error}. Save the model again.") from error
    digests = {name: _digest(array) for name, array in tensors.items()}
    if digests != document.pop("digests", None):
        raise ModelFileError(f"{path} is damaged: its numbers do not match their digests. Save the model again.")
    return document, tensors


def model_digest(path: str | os.PathLike[str]) -> str:
    """Digest that identifies a model: of everything in its file, but not of the order in which it is stored."""
    read_model(path)
    with safe_open(path, framework="numpy") as file:
        digest: str = file.metadata()[DIGEST]
    return digest


def _header(path: Path) -> bytes | None:
    """The header of a safetensors file; None if it is incomplete, or more than a model of this package can have."""
    with path.open("rb") as file:
        declared, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
        if not 2 <= declared <= min(size - 8, MAX_HEADER_BYTES):
            return None
        header = file.read(declared)
    return header if _is_bounded(header) else None


def _is_bounded(header: bytes) -> bool:
    """Parsing the header takes no more memory than a model needs."""
    return len(header) <= MAX_HEADER_BYTES and sum(map(header.count, (b",", b"[", b"{"))) <= MAX_VALUES


def _document(metadata: dict[str, str], path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON document in the header of a file, after its digest is verified."""
    if DOCUMENT not in metadata:
        raise ModelFileError(f"{path} is a safetensors file, but not one that VAEDetector.save wrote.")
    try:
        document = json.loads(metadata[DOCUMENT])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: its description is not JSON. Save the model again.") from error
    found = document.get("format") if isinstance(document, dict) else None
    if type(found) is not int or found != FORMAT:
        raise ModelFileError(
            f"{path} has format {found!r}; this version of vae-anomaly reads format {FORMAT}. "
            "Fit the model again, or install the version that wrote it."
        )
    if hashlib.sha256(metadata[DOCUMENT].encode()).hexdigest() != metadata.get(DIGEST):
        raise ModelFileError(f"{path} is damaged: its description does not match its digest. Save the model again.")
    return document


def _digest(array: np.ndarray) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()
