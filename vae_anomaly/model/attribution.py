"""What each of a row's features adds to the negative ELBO, in nats: its own density, and its part in the KL.

The KL belongs to the code, and the code to the whole row. Along the code's mean ``m`` the KL of a Gaussian to a
Gaussian is ``(m - c)'(m - c) / 2 h^2`` and what does not depend on ``m``; ``c`` is where the prior expects the code,
the centre of its components weighted by their shares in the row, and ``(m - c) / h^2`` is the KL's gradient. Decoding
``c`` gives the features ``g`` that the prior expects beside ``f``; to first order ``m - c = J (f - g)`` with the
encoder's Jacobian ``J``, so feature i carries ``(f - g)_i (J' (m - c))_i / 2 h^2`` of it (gradient times difference, as
in Integrated Gradients, Sundararajan et al., arXiv 1703.01365, with one point). The rest of the KL stays with the code.
"""

import torch
from torch import Tensor

from vae_anomaly.model.objectives import ELBO, Objective, Terms, expected_log_prob
from vae_anomaly.model.priors import Prior
from vae_anomaly.model.vae import VAE


def attributed_terms(
    objective: Objective, vae: VAE, x: Tensor, prior: Prior, noise: Tensor
) -> tuple[Terms, Tensor | None]:
    """Terms of each row, as the objective has them, and what each feature carries of the KL, where there is one.

    The second is (members, rows, features): the features of the encoder in its order, marks of missing cells included.
    """
    if not isinstance(objective, ELBO):
        return objective.terms(vae, x, prior, noise), None
    features = vae.features(x)
    with torch.enable_grad():
        seen = features.clone().requires_grad_()
        mean, log_var = vae.posterior(seen)
        code, log_var = mean.detach().requires_grad_(), log_var.detach()
        kl = prior.kl(code, log_var)
        (pull,) = torch.autograd.grad(kl.sum(), code)
        (slope,) = torch.autograd.grad((mean * pull).sum(), seen)  # as an argument it would load torch's compiler
    code = code.detach()
    expected = vae.likelihood.expected(vae.decode((code - prior.variance * pull)[None]), vae.shared).squeeze(0)
    carried = 0.5 * slope * (features - vae.likelihood.features(expected))
    return Terms(expected_log_prob(vae, x, code, log_var, noise), kl.detach()), carried
