"""How long and on what a model is trained: a rule of the table's size, never of its labels."""

from dataclasses import dataclass

from vae_anomaly.training.settings import Settings
from vae_anomaly.training.trimming import Fence, Share, Trimming

WARM_UP = 0.2  # share of the steps, where a code is learned
IMAGE_BATCH, IMAGE_EPOCHS = 128, 30
TABLE_EXEMPLARS = 512  # a step, where a code is learned and the nets are quick
MIN_HELD_OUT = 10  # rows; fewer cannot tell when to stop


@dataclass(frozen=True)
class Plan:
    """Everything the loop needs to know.

    ``trimming`` says which rows of a batch are left out of the loss. ``patience`` counts evaluations on held-out rows
    without improvement; with no held-out rows all steps are done. ``warm_up`` is the share of the steps over which the
    weight of the KL rises to ``beta``. ``n_exemplars`` is the number drawn for each step. With ``common_noise`` the
    noise scales of all numbers grow and shrink together. In ``still`` steps before the first the weights stay, and the
    optimiser learns how large gradients are: else its first steps would be too long for a trained model.
    """

    max_iter: int
    batch_size: int
    learning_rate: float
    beta: float
    trimming: Trimming
    held_out: int
    warm_up: float = 0.0
    patience: int = 3
    evaluations: int = 20
    n_exemplars: int = 128
    common_noise: bool = False
    still: int = 0

    @property
    def interval(self) -> int:
        """Steps between reports, and between evaluations."""
        return max(1, self.max_iter // self.evaluations)

    def beta_at(self, step: int) -> float:
        """Weight of the KL at a step."""
        return self.beta * min(1.0, (max(step, 0) + 1) / max(1.0, self.warm_up * self.max_iter))


def make_plan(settings: Settings, n_rows: int, *, exemplars: bool, one_measure: bool = False) -> Plan:
    """Choose what was left to "auto".

    Both train short. In novelty detection an anchor with exemplars is near its best from the start: more steps find
    likelihood in directions that tell no odd row from a normal one (benchmarks/results/ablations.md), and held-out
    rows that stop gaining end it sooner. In outlier detection a net learns the frequent rows first and the odd ones
    later (ODIM, arXiv 2301.04257), and the oddest rows of each batch are left out. A representation takes long: all
    rows count, held-out rows say when it is done, and the KL is warmed up, so that latents are in use before they cost
    (Sønderby et al. 2016, arXiv 1602.02282); convolutions, which start from nothing, take longest.
    """
    usual = IMAGE_BATCH if settings.convolutional else 256
    batch = min(n_rows, usual if settings.batch_size == "auto" else int(settings.batch_size))
    held_out = round(settings.validation_fraction * n_rows) if settings.anchored else 0
    return Plan(
        max_iter=_steps(settings, n_rows, exemplars) if settings.max_iter == "auto" else int(settings.max_iter),
        batch_size=batch,
        learning_rate=settings.learning_rate,
        beta=settings.beta,
        trimming=_trimming(settings),
        held_out=held_out if held_out >= MIN_HELD_OUT else 0,
        warm_up=WARM_UP if settings.represents else 0.0,
        n_exemplars=TABLE_EXEMPLARS if settings.represents and not settings.convolutional else Plan.n_exemplars,
        common_noise=one_measure and _commons_noise(settings, exemplars),
    )


def _commons_noise(settings: Settings, exemplars: bool) -> bool:
    """Whether columns of one measure have one noise as well.

    With noise of their own, likelihood whitens them: a column that the code tells well has little noise, so it counts
    for more, so it is told better still; and what the columns have in common, which a code is for, counts for less.
    """
    asked = settings.likelihood in ("auto", "gaussian")
    return asked and settings.represents and (exemplars or settings.image_shape is not None)


def _steps(settings: Settings, n_rows: int, exemplars: bool) -> int:
    if settings.convolutional:
        return max(1000, min(IMAGE_EPOCHS * n_rows // IMAGE_BATCH, 5000))
    if settings.represents:
        return 1000
    if not settings.novelty:
        return 200
    return 60 if exemplars else 300  # without exemplars the anchor is no density of the table's shape


def _trimming(settings: Settings) -> Trimming:
    """Clean rows all count; of dirty ones the share declared odd is left out, or what the batch itself says."""
    if settings.anchored:
        return Share(0.0)
    return Fence() if settings.contamination == "auto" else Share(float(settings.contamination))
