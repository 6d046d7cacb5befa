import numpy as np
import pytest
import torch

from vae_anomaly.config import choose_architecture, make_plan
from vae_anomaly.data.columns import NumberCell
from vae_anomaly.fit import start_weights
from vae_anomaly.model.objectives import OBJECTIVES
from vae_anomaly.training.trainer import Trainer

TINY = {"hidden_layer_sizes": (8,), "n_estimators": 3, "max_iter": 40}


@pytest.fixture
def make_trainer(settings_of):
    """A trainer for rows of numbers, in float64, its weights started but not trained."""

    def make(x, *, seed=0, one_measure=False, **parameters):
        settings = settings_of(**{**TINY, **parameters})
        cells = [NumberCell(column) for column in range(x.shape[1])]
        architecture = choose_architecture(settings, x, cells, one_measure=one_measure)
        vae = architecture.build(cells, len(x), "cpu").double()
        rows, generator = torch.as_tensor(x, dtype=torch.float64), torch.Generator().manual_seed(seed)
        plan = make_plan(settings, len(x), exemplars=architecture.exemplars, one_measure=one_measure)
        start_weights(vae, rows, architecture, generator, common_noise=plan.common_noise)
        objective = OBJECTIVES[settings.variational, settings.bound]
        return Trainer(vae, rows, plan, objective, exemplars=architecture.exemplars, generator=generator)

    return make


@pytest.fixture(scope="session")
def x():
    """Rows near a plane: 120 rows of 4 standardised numbers."""
    rng = np.random.default_rng(20260117)
    rows = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(120, 4))
    return (rows - rows.mean(0)) / rows.std(0)
