"""Scores of one small fixed model, worked out here in numpy alone, so that no rewrite moves a score unseen."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit, log_softmax, logsumexp

from vae_anomaly.model.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, StudentT
from vae_anomaly.model.objectives import ELBO, IWAE
from vae_anomaly.model.priors import ExemplarPrior, log_weights
from vae_anomaly.model.vae import VAE

NAN = np.nan
ROWS = np.array([  # two numbers, one heavy-tailed number, a flag, a code; the last row is a far one
    [0.5, -1.0, 0.2, 1.0, 0.0],
    [NAN, 0.3, -2.5, 0.0, 2.0],
    [1.5, NAN, NAN, 2.0, 3.0],
    [-40.0, 25.0, 60.0, NAN, 1.0],
])  # fmt: skip
DRAWS = np.array([[0.5, -1.2], [-0.5, 1.2], [1.7, 0.1]])
EXEMPLARS = np.array([[0.1, 0.4], [-0.8, 0.3], [1.1, -0.9]])
LEFT_OUT = np.array([[0.0, 2, 1], [1, 1, 1], [1, 2, 0], [1, 2, 1]])  # (rows, exemplars)
FLOORS, T_FLOOR, FLAG_UNSEEN, CODE_UNSEEN, SPREAD = np.array([0.05, 0.3]), 0.1, 0.02, 0.03, np.log([1.0, 4.0, 2.0])
LIKELIHOOD = Mixed(
    (Gaussian((0.05, 0.3)), StudentT((0.1,)), Bernoulli(1, FLAG_UNSEEN), Categorical(3, CODE_UNSEEN, tuple(SPREAD))),
    indicators=(0, 1),
)
# Means over both members, in nats.
GOLDEN = {
    "gaussian elbo": [-8.353943579519, -10.541096289467, -13.249125890631, -5284.347322978],
    "gaussian iwae": [-6.4918832322182, -9.7471961971838, -13.287759452103, -3876.810920569],
    "exemplar elbo": [-9.4033638450378, -15.156367216182, -14.013868847094, -7173.891776064],
    "exemplar iwae": [-5.8406710648561, -10.224975564441, -13.320264362496, -5128.997645688],
}


def weight(name, shape):
    """Fixed numbers, different for each name, with no generator to depend on."""
    return 0.5 * np.sin(1.0 + 1.3 * np.arange(np.prod(shape)).reshape(shape) + sum(map(ord, name)))


@pytest.fixture(params=["in training", "frozen"])
def vae(request):
    model = VAE(LIKELIHOOD, 2, (4, 3), 2).double().requires_grad_(False)
    model.load_state_dict({name: torch.tensor(weight(name, p.shape)) for name, p in model.state_dict().items()})
    return model.freeze() if request.param == "frozen" else model


# -- the same model in numpy, one member, one row and one draw at a time --

SHAPES = {
    "encoder": [("hidden.0", 9, 4), ("hidden.1", 4, 3), ("last", 3, 4), ("linear", 9, 4)],
    "decoder": [("hidden.0", 2, 3), ("hidden.1", 3, 4), ("last", 4, 7), ("linear", 2, 7)],
}


def net(name, member, x):
    layers = {
        layer: (
            weight(f"{name}.{layer}.weight", (2, a, b))[member],
            weight(f"{name}.{layer}.bias", (2, 1, b))[member, 0],
        )
        for layer, a, b in SHAPES[name]
    }
    h = x * min(1.0, 10 / np.sqrt((x**2).mean()))
    for layer in ("hidden.0", "hidden.1"):
        h = h @ layers[layer][0] + layers[layer][1]
        h = h * expit(h)
    return x @ layers["linear"][0] + layers["linear"][1] + h @ layers["last"][0] + layers["last"][1]


def features(row):
    """Numbers, the heavy-tailed number, the flag, the code's indicator columns, then the marks of missing cells."""
    flag = row[3] if row[3] in (0, 1) else 0.5
    return np.array([*np.nan_to_num(row[:3]), flag, *(row[4] == np.arange(3)), np.isnan(row[0]), np.isnan(row[1])])


def completed(row, member):
    """In scoring: missing cells as the member expects them, encoded and decoded five times."""
    found, missing = features(row), np.isnan([row[0], row[1], row[2], row[3], *3 * [row[4]]])
    found[7:] = 0.0
    if not missing.any():
        return found
    found[7:] = np.isnan(row[:2])
    for _ in range(5):
        out = net("decoder", member, net("encoder", member, found)[:2])
        probabilities = np.exp(log_softmax(out[4:]))
        expected = np.array([*out[:3].clip(-10, 10), expit(out[3]), *probabilities])
        found = np.array([*np.where(missing, expected, found[:7]), 0.0, 0.0])
    return found


def log_likelihood(row, member, z):
    out, shared = net("decoder", member, z), weight("shared", (2, 1, 4))[member, 0]
    total = 0.0
    for column in (0, 1):
        if not np.isnan(row[column]):
            total += stats.norm.logpdf(row[column], out[column], np.hypot(FLOORS[column], np.exp(shared[column])))
    if not np.isnan(row[2]):
        df = 2 + np.log1p(np.exp(shared[3]))
        total += stats.t.logpdf(row[2], df, out[2], np.hypot(T_FLOOR, np.exp(shared[2])))
    if not np.isnan(row[3]):
        known = {0.0: 1 - expit(out[3]), 1.0: expit(out[3])}.get(row[3], 0.0)
        total += np.log((1 - FLAG_UNSEEN) * known + FLAG_UNSEEN / 3)
    if row[4] < 3:
        code = int(row[4])
        known = np.exp(log_softmax(out[4:])[code])
        total += np.log((1 - CODE_UNSEEN) * known + CODE_UNSEEN / 4) - SPREAD[code]
    else:
        total += np.log(CODE_UNSEEN / 4)
    return total


def log_prior(z, member, weights):
    if weights is None:
        return stats.norm.logpdf(z).sum()
    scale = np.exp(weight("log_bandwidth", (2, 1, 1))[member, 0])
    return logsumexp(stats.norm.logpdf(z, EXEMPLARS + member, scale).sum(-1), b=weights / weights.sum())


def kl(mean, log_var, member, weights):
    """To the standard normal; or to the exemplars: -log sum_k w_k exp(-KL(q || exemplar k)), Hershey and Olsen 2007."""
    if weights is None:
        return 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).sum()
    log_scale = weight("log_bandwidth", (2, 1, 1))[member, 0]
    ratio, away = np.exp(log_var - 2 * log_scale), (mean - EXEMPLARS - member) / np.exp(log_scale)
    return -logsumexp(-0.5 * (ratio + away**2 - 1 - np.log(ratio)).sum(-1), b=weights / weights.sum())


def reference(bound, leave_out, frozen):
    """Mean over members of the bound on each row."""
    scores = np.zeros(len(ROWS))
    for member in range(2):
        for i, row in enumerate(ROWS):
            mean, log_var = np.split(net("encoder", member, (completed(row, member) if frozen else features(row))), 2)
            log_var = np.clip(log_var, -12, 8)
            draws = mean + np.exp(log_var / 2) * DRAWS
            fits = np.array([log_likelihood(row, member, z) for z in draws])
            weights = None if leave_out is None else leave_out[i]
            scores[i] += 0.5 * bound(mean, log_var, draws, fits, member, weights)
    return scores


def elbo(mean, log_var, draws, fits, member, weights):
    return fits.mean() - kl(mean, log_var, member, weights)


def iwae(mean, log_var, draws, fits, member, weights):
    priors = np.array([log_prior(z, member, weights) for z in draws])
    posterior = stats.norm.logpdf(draws, mean, np.exp(log_var / 2)).sum(-1)
    return logsumexp(fits + priors - posterior, b=1 / len(draws))


BOUNDS = {
    "gaussian elbo": (elbo, None),
    "gaussian iwae": (iwae, None),
    "exemplar elbo": (elbo, LEFT_OUT),
    "exemplar iwae": (iwae, LEFT_OUT),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_scores_are_those_of_the_numpy_model(name, vae):
    x, draws = torch.tensor(ROWS), torch.tensor(DRAWS)[:, None, None]
    means = torch.tensor(np.stack([EXEMPLARS, EXEMPLARS + 1]))
    exemplar = ExemplarPrior(means, vae.log_bandwidth, log_weights(torch.tensor(LEFT_OUT)[None]))
    prior = exemplar if name.startswith("exemplar") else vae.standard_normal()
    objective = ELBO() if name.endswith("elbo") else IWAE()
    score = objective.score(vae, x, prior, draws)
    assert_allclose(score.mean(0), reference(*BOUNDS[name], frozen=not vae.training), rtol=1e-10)
    if vae.training:
        assert_allclose(score.mean(0), GOLDEN[name], rtol=1e-10)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_numpy_model_still_gives_the_values_written_here(name):
    assert_allclose(reference(*BOUNDS[name], frozen=False), GOLDEN[name], rtol=1e-10)


def test_the_table_exercises_what_it_should():
    encoded = np.array([features(row) for row in ROWS])
    assert (encoded**2).mean(1).max() > 100, "a row beyond the limit of the hidden path"
    assert (np.isnan(ROWS).any(0) | np.array([False] * 4 + [True])).all(), "a missing cell in each column but the code"
    assert {2.0, 3.0} <= {ROWS[2, 3], ROWS[2, 4]}, "a flag and a code never seen"
