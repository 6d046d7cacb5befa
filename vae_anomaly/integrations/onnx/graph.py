"""The whole way from a table's plain numbers to scores as one torch module that can be traced.

The mathematics is the model's own. Only what leaves torch (keys of rows, the search among exemplars), or cuts rows into
parts by their number, is said anew.
"""

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.fitted import FittedModel
from vae_anomaly.integrations.onnx.cells import PixelCells, TableCells
from vae_anomaly.model.nearest import NEAREST, ExactSearch
from vae_anomaly.model.priors import ExemplarPrior, NearestPrior, Prior, log_weights
from vae_anomaly.model.vae import VAE
from vae_anomaly.scoring.scorer import FEW, Exemplars


class ScoreGraph(nn.Module):
    """Plain numbers (rows, columns) to the anomaly score and whether it is beyond the threshold, each (rows,).

    Rows are new: one that was in training explains itself. All arithmetic is float64.
    """

    def __init__(self, fitted: FittedModel) -> None:
        super().__init__()
        schema, scorer = fitted.schema, fitted.scorer
        self.cells = PixelCells(schema) if isinstance(schema, PixelSchema) else TableCells(schema)
        self.vae = copy.deepcopy(scorer.vae).cpu().double().freeze()
        self.prior = _prior_of(scorer.exemplars)
        self.draws: Tensor
        self.register_buffer("draws", scorer.draws.cpu().double()[:, None, None])
        self._objective, self._offset = scorer.objective, fitted.record.offset

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly score and verdict; a score that is no number counts as odd."""
        x = self.cells(rows)
        score = self._objective.score(self.vae, x, self.prior(self.vae, x), self.draws).mean(0)
        return -score, ~(score >= self._offset)


def traced(fitted: FittedModel) -> ExportedProgram:
    """The graph of torch operations from plain numbers to scores, for any number of rows."""
    graph = ScoreGraph(fitted).train().requires_grad_(False)  # how rows lie in this memory is nothing to a graph
    rows = torch.zeros(3, len(fitted.schema.names), dtype=torch.float64)
    return torch.export.export(graph, (rows,), dynamic_shapes=({0: Dim("rows")},))


class _Normal(nn.Module):
    """The prior that rests on no rows."""

    def forward(self, vae: VAE, x: Tensor) -> Prior:
        """The same for all rows."""
        return vae.standard_normal()


class _Whole(nn.Module):
    """The prior of few exemplars, of which every row sees all."""

    def __init__(self, exemplars: Exemplars) -> None:
        super().__init__()
        self.means: Tensor
        self.log_weights: Tensor
        self.register_buffer("means", exemplars.means.cpu().double())
        self.register_buffer("log_weights", log_weights(exemplars.counts.cpu().double())[None, None])

    def forward(self, vae: VAE, x: Tensor) -> Prior:
        """The same for all rows."""
        return _AllAtOnce(self.means, vae.log_bandwidth, self.log_weights)


class _AllAtOnce(ExemplarPrior):
    """An exemplar prior that does not cut the rows into parts."""

    def _log_kernels(self, u: Tensor, c: Tensor) -> Tensor:
        return (u @ c + self.log_weights).logsumexp(-1)


class _Nearest(nn.Module):
    """The prior of many exemplars, of which each row sees the nearest: every product, and the largest of them."""

    def __init__(self, exemplars: Exemplars) -> None:
        super().__init__()
        counts = exemplars.counts.cpu().double()
        self.means: Tensor
        self.log_weights: Tensor
        self.register_buffer("means", exemplars.means.cpu().double())
        self.register_buffer("log_weights", log_weights(counts))
        self._searches = [ExactSearch(means) for means in self.means]

    def forward(self, vae: VAE, x: Tensor) -> Prior:
        """The exemplars nearest to the rows' own codes."""
        latents = vae.encode(x)[0]
        near = [search.nearest(z, NEAREST) for search, z in zip(self._searches, latents.unbind(0), strict=True)]
        around = torch.stack([means[indices] for means, indices in zip(self.means, near, strict=True)])
        return NearestPrior(around, vae.log_bandwidth, self.log_weights[torch.stack(near)])


def _prior_of(exemplars: Exemplars | None) -> nn.Module:
    if exemplars is None:
        return _Normal()
    return _Whole(exemplars) if len(exemplars.keys) <= FEW else _Nearest(exemplars)
