"""From a table's plain numbers to the cells that a model takes: what a schema's ``encode`` does, as a torch module.

Plain numbers are those of the schema's ``as_numbers``, (rows, columns) in float64, NaN where a value is missing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vae_anomaly.data.columns import CodeCell, FlagCell
from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.data.scaling import LARGEST, LINEAR
from vae_anomaly.data.schema import Schema


class TableCells(nn.Module):
    """Cells of a table: numbers standardised and their tails drawn in, flags and codes told from unseen values."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        document, cells = schema.to_json(), schema.cells
        self._numbers = [cell.column for cell in cells if cell.is_number]
        self._flags = [cell.column for cell in cells if isinstance(cell, FlagCell)]
        self._codes = nn.ModuleList(_Code(cell) for cell in cells if isinstance(cell, CodeCell))
        self.scaling = _Scaling(document, self._numbers)

    def forward(self, rows: Tensor) -> Tensor:
        """Cells (rows, cells) in the order of the schema."""
        parts = [self.scaling(rows[:, self._numbers])] if self._numbers else []
        parts += [_flags(rows[:, self._flags])] if self._flags else []
        return torch.cat([*parts, *(code(rows) for code in self._codes)], 1)


class PixelCells(nn.Module):
    """Pixels, black 0 and white 1."""

    def __init__(self, schema: PixelSchema) -> None:
        super().__init__()
        self._darkest, self._brightest = schema.to_json()["range"]

    def forward(self, rows: Tensor) -> Tensor:
        """Pixels beyond the range of training count as the darkest or the brightest."""
        cells = (rows - self._darkest) / (self._brightest - self._darkest)
        low, high = torch.zeros_like(cells), torch.ones_like(cells)
        return torch.where(cells < 0, low, torch.where(cells > 1, high, cells))  # NaN is neither


class _Scaling(nn.Module):
    """`Scaling.apply` of columns whose origins are taken off; what is infinite counts as the largest number."""

    def __init__(self, document: dict[str, Any], columns: list[int]) -> None:
        super().__init__()
        origins = [document["columns"][column].get("origin", 0) for column in columns]
        exponents = torch.tensor(document["exponents"], dtype=torch.int64)
        half = -exponents // 2
        self.origins: Tensor
        self.powers: Tensor
        self.centres: Tensor
        self.scales: Tensor
        self.log_units: Tensor
        self.register_buffer("origins", _double(origins))
        self.register_buffer("powers", torch.stack([half, -exponents - half]).double().exp2())
        self.register_buffer("centres", _double(document["centres"]))
        self.register_buffer("scales", _double(document["scales"]))
        self.register_buffer("log_units", self.scales.log() + exponents * _double(2.0).log())

    def forward(self, values: Tensor) -> Tensor:
        """Standardised numbers, tails drawn in; where deviations overflow, their logarithm does not."""
        values = torch.where(values.abs() > LARGEST, values.sign() * LARGEST, values) - self.origins
        z = (values * self.powers[0] * self.powers[1] - self.centres) / self.scales
        tail = LINEAR + (1 - LINEAR + z.abs()).log()
        far = LINEAR + values.abs().log() - self.log_units
        drawn_in = torch.where(z.abs() > LARGEST, values.sign() * far, z.sign() * tail)
        return torch.where(z.abs() > LINEAR, drawn_in, z)


class _Code(nn.Module):
    """One column of codes; whatever is not among those of training is unseen."""

    def __init__(self, cell: CodeCell) -> None:
        super().__init__()
        self._column, self._n_codes, self._part = cell.column, cell.n_codes, cell.part

    def forward(self, rows: Tensor) -> Tensor:
        """Codes (rows, 1)."""
        code = self._raw(rows[:, self._column : self._column + 1])
        known = (code >= 0) & (code < self._n_codes) & (code == code.floor())
        return torch.where(known | code.isnan(), code, torch.full_like(code, self._n_codes))

    def _raw(self, values: Tensor) -> Tensor:
        """The code itself, or of an instant in microseconds the weekday (Monday is 0) or the hour."""
        if self._part is None:
            return values
        return _remainder(_quotient(values, self._part.unit) + self._part.first, self._n_codes)


def _flags(values: Tensor) -> Tensor:
    known = (values == 0) | (values == 1) | values.isnan()
    return torch.where(known, values, torch.full_like(values, 2))


def _quotient(whole: Tensor, divisor: int) -> Tensor:
    """Whole quotient of whole numbers below 2**53, rounded down; a division alone may round up to the next one."""
    quotient = (whole / divisor).floor()
    return torch.where(whole < quotient * divisor, quotient - 1, quotient)


def _remainder(whole: Tensor, divisor: int) -> Tensor:
    return whole - divisor * _quotient(whole, divisor)


def _double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
