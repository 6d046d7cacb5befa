"""Scores of a table's plain numbers as one torch module that can be traced.

The mathematics is that of the model. Replaced are the steps that leave torch (the search for the nearest exemplars, the
scale of rows with missing cells) and those that split the rows depending on their number or content.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.fitted import FittedModel
from vae_anomaly.integrations.onnx.encoding import PixelEncoding, TableEncoding
from vae_anomaly.model.nearest import NEAREST, ExactSearch
from vae_anomaly.model.priors import ExemplarPrior, NearestPrior, Prior, log_weights
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.cells import MISSING, OutstandingCells
from vae_anomaly.scoring.missing import FRACTIONS, MissingCells
from vae_anomaly.scoring.scorer import FEW, Exemplars, same_row


class ScoreGraph(nn.Module):
    """Anomaly scores of plain numbers (rows, columns), and flags of those beyond the threshold, each (rows,).

    All arithmetic is float64.
    """

    def __init__(self, fitted: FittedModel) -> None:
        super().__init__()
        schema, scorer = fitted.schema, fitted.scorer
        self.encoding = PixelEncoding(schema) if isinstance(schema, PixelSchema) else TableEncoding(schema)
        self.vae = copy.deepcopy(scorer.vae).cpu().double().freeze()
        self.vae.complete_all = True
        self.missing = _MissingScale(fitted.missing)
        outstanding = scorer.outstanding
        self.outstanding = None if outstanding is None else _Outstanding(outstanding, fitted.missing)
        self.prior = _prior_of(scorer.exemplars, leave_one_out=scorer.leave_one_out)
        self.draws: Tensor
        self.register_buffer("draws", scorer.draws.cpu().double()[:, None, None])
        self._objective, self._offset = scorer.objective, fitted.record.offset

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly score and flag; a score that is NaN is flagged."""
        x = self.encoding(rows)
        posterior = self.vae.encode(x)
        prior = self.prior(self.vae, posterior[0])
        score = self._objective.score(self.vae, x, prior, self.draws, posterior).mean(0)
        score = self.missing(score, x)
        if self.outstanding is not None:
            score = score - self.outstanding(x)
        return -score, ~(score >= self._offset)


def trace(fitted: FittedModel) -> ExportedProgram:
    """Graph of torch operations from plain numbers to scores, for any number of rows."""
    graph = ScoreGraph(fitted).train().requires_grad_(False)
    rows = torch.zeros(3, len(fitted.schema.names), dtype=torch.float64)
    return torch.export.export(graph, (rows,), dynamic_shapes=({0: Dim("rows")},))


class _MissingScale(nn.Module):
    """Scores of rows with missing cells on the scale of complete rows, as `MissingCells` computes them."""

    def __init__(self, missing: MissingCells) -> None:
        super().__init__()
        self.first_cells = torch.as_tensor(missing.first_cells)
        self.means, self.weights = torch.as_tensor(missing.means), torch.as_tensor(missing.weights)
        self.points = torch.as_tensor(FRACTIONS)
        self.curves, self.charges = torch.as_tensor(missing.curves), torch.as_tensor(missing.charges)

    def forward(self, scores: Tensor, x: Tensor) -> Tensor:
        """Adjusted scores (rows,) of encoded rows (rows, cells)."""
        lacking = x[:, self.first_cells].isnan().to(x.dtype)
        locations, scales = self._interpolated(lacking @ self.weights)
        factor = self.curves[1, 0] / scales
        shift = self.curves[0, 0] - factor * locations
        observed = self.means.sum() - lacking @ self.means[:-1]
        adjusted = -(self.means.sum() + shift + factor * (-scores - observed))
        charged = self.charges[0].sum() + lacking @ self.charges.diff(dim=0)[0]
        return torch.where(lacking.sum(1) > 0, adjusted, scores) - charged

    def _interpolated(self, fractions: Tensor) -> Tensor:
        """The curves (2, rows) at these fractions: sums of the slopes of all pieces, up to where a row lies."""
        steps = (fractions[:, None] - self.points[:-1]).clamp_min(0).minimum(self.points.diff())
        slopes = self.curves.diff(dim=1) / self.points.diff()
        return self.curves[:, :1] + slopes @ steps.T


class _Outstanding(nn.Module):
    """Nats of outstanding cells, as `OutstandingCells` computes them."""

    def __init__(self, outstanding: OutstandingCells, missing: MissingCells) -> None:
        super().__init__()
        vae = copy.deepcopy(outstanding.vae).cpu().double().freeze()
        self.vae = vae
        self.vae.complete_all = True
        self.cells = replace(outstanding, vae=vae)
        self.usual, self.repeated = torch.as_tensor(outstanding.usual), torch.as_tensor(outstanding.repeated)
        self.ends = torch.as_tensor(outstanding.ends)
        self.charges = torch.as_tensor(missing.charges)

    def forward(self, x: Tensor) -> Tensor:
        """Nats (rows,) that are added to the anomaly scores of encoded rows (rows, cells)."""
        nats = self.cells.negative_log_likelihood(x)
        is_missing = nats.isnan()
        middle, spread, price, limit = self.usual
        above = (
            torch.where(is_missing, middle, nats) + torch.where(is_missing, self.charges[1], self.charges[0]) - middle
        )
        first = x[:, self.cells.first_cells]
        keys = torch.where(first.isnan(), MISSING, first).float()
        low, below, high, beyond = self.ends
        ends = torch.where(keys < low, below, 0.0) + torch.where(keys > high, beyond, 0.0)
        above = above + torch.where(first.isnan(), 0.0, ends)
        of_columns, spared = [], [torch.zeros_like(nats[:, 0])]
        for column in range(len(middle)):
            _, values, usual, of_values = self.repeated[self.repeated[:, 0] == column].T
            is_same = keys[:, column, None] == values.float()
            is_repeated = is_same.any(1)
            repeated = (is_same * (usual - middle[column]).clamp_min(0)).sum(1)
            of_columns.append(repeated - torch.where(is_repeated | is_missing[:, column], 0.0, price[column]))
            spared.append((is_same * of_values).sum(1))
        above = above - torch.stack(of_columns, 1)
        excess = self.cells.unit * ((above - limit) / spread).clamp_min(0).sum(1)
        return excess - torch.stack(spared, 1).amax(1)


class _Normal(nn.Module):
    """The standard normal prior."""

    def forward(self, vae: VAE, z: Tensor) -> Prior:
        """The same for all rows."""
        return vae.standard_normal()


class _AllExemplars(nn.Module):
    """The prior of few exemplars: every row is compared with all of them."""

    def __init__(self, exemplars: Exemplars, *, leave_one_out: bool) -> None:
        super().__init__()
        self.means: Tensor
        self.counts: Tensor
        self.register_buffer("means", exemplars.means.cpu().double())
        self.register_buffer("counts", exemplars.counts.cpu().double())
        self._leave_one_out = leave_one_out and bool(exemplars.counts.sum() > 1)

    def forward(self, vae: VAE, z: Tensor) -> Prior:
        """The same for all rows, except that no exemplar counts for itself."""
        counts = self.counts[None]
        if self._leave_one_out:
            c = self.means
            squared = (z**2).sum(-1, keepdim=True) - 2 * z @ c.mT + (c**2).sum(-1)[:, None]
            distances = (squared.clamp_min(0).sqrt() * (-vae.log_bandwidth).exp()).amax(0)
            nearest, itself = distances.min(-1, keepdim=True)
            counts = counts - same_row(nearest) * (torch.arange(c.shape[1]) == itself)
        return _UnsplitPrior(self.means, vae.log_bandwidth, log_weights(counts)[None])


class _UnsplitPrior(ExemplarPrior):
    """An exemplar prior that does not split the rows."""

    def _log_kernels(self, u: Tensor, c: Tensor) -> Tensor:
        return (u @ c + self.log_weights).logsumexp(-1)


class _NearestExemplars(nn.Module):
    """The prior of many exemplars: every row is compared with the nearest ones, found from all products."""

    def __init__(self, exemplars: Exemplars) -> None:
        super().__init__()
        counts = exemplars.counts.cpu().double()
        self.means: Tensor
        self.log_weights: Tensor
        self.log_widths: Tensor
        self.register_buffer("means", exemplars.means.cpu().double())
        self.register_buffer("log_weights", log_weights(counts))
        self.register_buffer("log_widths", exemplars.log_widths.cpu().double())
        self._searches = [ExactSearch(means) for means in self.means]

    def forward(self, vae: VAE, z: Tensor) -> Prior:
        """The exemplars nearest to the latent means of the rows."""
        pairs = zip(self._searches, z.unbind(0), strict=True)
        count = min(NEAREST, len(self.log_weights))
        indices = [search.nearest(of_member, count) for search, of_member in pairs]
        nearest = torch.stack([means[chosen] for means, chosen in zip(self.means, indices, strict=True)])
        widths = torch.stack([widths[chosen] for widths, chosen in zip(self.log_widths, indices, strict=True)])
        return NearestPrior(nearest, vae.log_bandwidth + widths, self.log_weights[torch.stack(indices)])


def _prior_of(exemplars: Exemplars | None, *, leave_one_out: bool) -> nn.Module:
    if exemplars is None:
        return _Normal()
    if len(exemplars.counts) <= FEW and not exemplars.log_widths.any():
        return _AllExemplars(exemplars, leave_one_out=leave_one_out)
    return _NearestExemplars(exemplars)  # of novelty detection, where every row is a new one
