"""What a user asked of a fit, "auto" included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

LEAST_SIDE = 16  # pixels of an image that is convolved; in smaller ones there is little that repeats


@dataclass(frozen=True)
class Settings:
    """The detector's parameters that decide what is trained; their meaning stands at `VAEDetector`."""

    purpose: str
    n_components: int | str
    hidden_layer_sizes: Sequence[int] | str
    likelihood: str
    prior: str
    beta: float
    bound: str
    variational: bool
    image_shape: Sequence[int] | None
    n_estimators: int | str
    novelty: bool
    contamination: float | str
    calibration: str
    max_iter: int | str
    batch_size: int | str
    learning_rate: float
    validation_fraction: float
    n_draws: int
    device: str
    precision: str

    @property
    def anchored(self) -> bool:
        """Whether training starts at principal directions: where the training rows are taken as they are."""
        return self.novelty or self.represents

    @property
    def represents(self) -> bool:
        """Whether the code is the purpose, not the score."""
        return self.purpose == "representation"

    @property
    def convolutional(self) -> bool:
        """Whether the nets are convolutions: their codes of images are the better ones, their scores are not.

        Codes of small images are better where the nets start at principal components, as for tables (8 x 8 digits:
        benchmarks/results/features.md).
        """
        return self.represents and self.image_shape is not None and min(self.image_shape[1:]) >= LEAST_SIDE

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The settings among the parameters of a detector; numpy's numbers become Python's, which JSON can hold."""
        values = {field.name: parameters[field.name] for field in fields(cls)}
        plain = {name: v.tolist() if isinstance(v, np.generic | np.ndarray) else v for name, v in values.items()}
        return cls(**plain)
