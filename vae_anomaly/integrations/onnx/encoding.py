"""Encoding of a table's plain numbers into the cells of a model, as torch modules: a schema's ``encode`` in a graph.

Plain numbers are those of the schema's ``as_numbers``, (rows, columns) in float64: NaN where a value is missing, plus
infinity where one is unreadable.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vae_anomaly.data.columns import WEEK, YEAR, CodeCell, FlagCell, NumberCell
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.scaling import LARGEST, LINEAR
from vae_anomaly.data.schema import Schema


class TableEncoding(nn.Module):
    """Cells of a table: numbers standardised with log-compressed tails; unseen flags and codes have their own value."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        cells = schema.cells
        self._numbers = [cell.column for cell in cells if isinstance(cell, NumberCell) and cell.since is None]
        self._gaps = [
            (cell.column, cell.since) for cell in cells if isinstance(cell, NumberCell) and cell.since is not None
        ]
        self._flags = [cell.column for cell in cells if isinstance(cell, FlagCell)]
        self._codes = nn.ModuleList(_Code(cell) for cell in cells if isinstance(cell, CodeCell))
        self.scaling = _Scaling(schema.to_json(), self._numbers)

    def forward(self, rows: Tensor) -> Tensor:
        """Cells (rows, cells) in the order of the schema."""
        numbers = [rows[:, self._numbers], *(_gap(rows[:, later], rows[:, earlier]) for later, earlier in self._gaps)]
        parts = [self.scaling(torch.cat(numbers, 1))] if self._numbers else []
        parts += [_flags(rows[:, self._flags])] if self._flags else []
        return torch.cat([*parts, *(code(rows) for code in self._codes)], 1)


class PixelEncoding(nn.Module):
    """Pixels from 0, the darkest of training, to 1, the brightest."""

    def __init__(self, schema: PixelSchema) -> None:
        super().__init__()
        self._darkest, self._brightest = schema.to_json()["range"]

    def forward(self, rows: Tensor) -> Tensor:
        """Pixels (rows, pixels); those beyond the range of training count as the darkest or the brightest."""
        cells = (rows - self._darkest) / (self._brightest - self._darkest)
        low, high = torch.zeros_like(cells), torch.ones_like(cells)
        return torch.where(cells < 0, low, torch.where(cells > 1, high, cells))  # NaN is neither


class _Scaling(nn.Module):
    """`Scaling.apply` of columns less their origins; minus infinity counts as the smallest number."""

    def __init__(self, document: dict[str, Any], columns: list[int]) -> None:
        super().__init__()
        described = [document["columns"][column] for column in columns] + [{} for _ in document["gaps"]]
        origins = [column.get("origin", 0) for column in described]
        ranges = [(column.get("first", 0), column.get("last", LARGEST)) for column in described]
        exponents = torch.tensor(document["exponents"], dtype=torch.int64)
        half = -exponents // 2
        self.origins: Tensor
        self.ranges: Tensor
        self.powers: Tensor
        self.centres: Tensor
        self.scales: Tensor
        self.widths: Tensor
        self.is_bent: Tensor
        self.log_units: Tensor
        double = partial(torch.tensor, dtype=torch.float64)
        self.register_buffer("origins", double(origins))
        self.register_buffer("ranges", double(ranges).T)
        self._has_dates = any("last" in column for column in described)
        self.register_buffer("powers", torch.stack([half, -exponents - half]).double().exp2())
        self.register_buffer("centres", double(document["centres"]))
        self.register_buffer("scales", double(document["scales"]))
        self.register_buffer("is_bent", double(document["widths"]) > 0)
        self.register_buffer("widths", torch.where(self.is_bent, double(document["widths"]), 1.0))
        units = torch.where(self.is_bent, self.widths, self.scales)
        self.register_buffer("log_units", units.log() + exponents * double(2.0).log())

    def forward(self, values: Tensor) -> Tensor:
        """Standardised numbers with log-compressed tails; the logarithm of a number that overflows does not."""
        unreadable = values == torch.inf
        values = torch.where(values.abs() > LARGEST, values.sign() * LARGEST, values) - self.origins
        values = self._held(values) if self._has_dates else values
        near = values * self.powers[0] * self.powers[1]
        log_far = values.abs().log() - self.log_units  # of values that overflow
        bent = _arcsinh(near / self.widths)
        bent = torch.where(near.abs() > LARGEST, values.sign() * (log_far + math.log(2.0)), bent)
        z = (torch.where(self.is_bent, bent, near) - self.centres) / self.scales
        tail = LINEAR + (1 - LINEAR + z.abs()).log()
        compressed = torch.where(z.abs() > LARGEST, values.sign() * (LINEAR + log_far), z.sign() * tail)
        cells = torch.where(z.abs() > LINEAR, compressed, z)
        return torch.where(unreadable, torch.full_like(cells, torch.inf), cells)

    def _held(self, values: Tensor) -> Tensor:
        """`DateColumn.held` of the dates among the values."""
        first, last = self.ranges
        runs_on = (values > last) & (values - last <= (last - first).clamp_min(YEAR))
        moved = values - ((values - last) / WEEK).ceil() * WEEK
        held = torch.where(2 * moved < first + last - WEEK, last, torch.maximum(moved, first))
        return torch.where(runs_on, held, values)


class _Code(nn.Module):
    """One column of category codes; values other than the codes of training get the code for unseen ones."""

    def __init__(self, cell: CodeCell) -> None:
        super().__init__()
        self._column, self._n_codes, self._part = cell.column, cell.n_codes, cell.part

    def forward(self, rows: Tensor) -> Tensor:
        """Codes (rows, 1)."""
        code = rows[:, self._column : self._column + 1]
        if self._part is not None:  # of an unreadable date they are missing
            code = torch.where(code.abs() > LARGEST, torch.full_like(code, torch.nan), code)
            # a weekday or an hour of an instant in microseconds
            code = _remainder(_quotient(code, self._part.unit) + self._part.first, self._n_codes)
        known = (code >= 0) & (code < self._n_codes) & (code == code.floor())
        return torch.where(known | code.isnan(), code, torch.full_like(code, self._n_codes))


def _gap(later: Tensor, earlier: Tensor) -> Tensor:
    """Time between two dates, (rows, 1), missing if one of them is missing or unreadable."""
    gap = later - earlier
    unknown = gap.isnan() | (later == torch.inf) | (earlier == torch.inf)
    return torch.where(unknown, torch.full_like(gap, torch.nan), gap)[:, None]


def _arcsinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine, which onnxruntime lacks in float64; where a square would overflow, ``log(2 x)``."""
    size = x.abs().clamp_max(1e100)
    near = (size + (size * size + 1).sqrt()).log()
    return x.sign() * torch.where(x.abs() > 1e100, x.abs().log() + math.log(2.0), near)


def _flags(values: Tensor) -> Tensor:
    known = (values == 0) | (values == 1) | values.isnan()
    return torch.where(known, values, torch.full_like(values, 2))


def _quotient(whole: Tensor, divisor: int) -> Tensor:
    """Quotient of whole numbers below 2**53, rounded down; the division alone could round up to the next one."""
    quotient = (whole / divisor).floor()
    return torch.where(whole < quotient * divisor, quotient - 1, quotient)


def _remainder(whole: Tensor, divisor: int) -> Tensor:
    return whole - divisor * _quotient(whole, divisor)
