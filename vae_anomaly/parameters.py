"""What holds between the parameters of a detector, and their form in a file."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from vae_anomaly.training.settings import LEAST_SIDE


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what the constraints of single parameters cannot see."""
    sizes = parameters["hidden_layer_sizes"]
    whole = isinstance(sizes, str) or all(isinstance(size, Integral) and int(size) > 0 for size in sizes)
    if not whole or not len(sizes):
        raise InvalidParameterError(
            f"The 'hidden_layer_sizes' parameter must be 'auto' or whole numbers from 1 up. Got {sizes!r}."
        )
    if parameters["image_shape"] is not None:
        layers = 1 if isinstance(sizes, str) else len(sizes)
        _check_images(parameters["image_shape"], layers * (parameters["purpose"] == "representation"))
    elif parameters["likelihood"] == "bernoulli":
        raise InvalidParameterError(
            "likelihood='bernoulli' is for pixels: give the image_shape, or leave it to 'auto'."
        )
    if parameters["checkpoint"] is not None and parameters["random_state"] in (None, np.random):
        raise InvalidParameterError(
            "A fit with a checkpoint needs a number as 'random_state': without one no other fit could go on from it."
        )
    densities = {"bound": "iwae", "prior": "exemplar", "likelihood": "student_t"}
    asked = [f"{name}={value!r}" for name, value in densities.items() if parameters[name] == value]
    if asked and not parameters["variational"]:
        raise InvalidParameterError(
            f"A plain autoencoder (variational=False) has no density, so {asked[0]} has no meaning. Leave it out."
        )


def _check_images(image_shape: Sequence[Any], convolutions: int) -> None:
    """Refuse shapes that are none, and images whose sides cannot be halved so often."""
    shape = list(image_shape)
    if len(shape) != 3 or not all(isinstance(size, Integral) and int(size) > 0 for size in shape):
        raise InvalidParameterError(
            f"The 'image_shape' parameter must be three whole numbers: channels, height and width. Got {shape!r}."
        )
    if LEAST_SIDE <= min(shape[1:]) < 2**convolutions:
        raise InvalidParameterError(
            f"Images of {shape[2]} x {shape[1]} pixels are too small for {convolutions} convolutions, "
            "each of which halves the sides."
        )


def plain(value: Any) -> Any:
    """A parameter as JSON has it; what JSON cannot hold (a generator, callbacks) is not kept."""
    match value:
        case np.generic():
            return value.item()
        case np.ndarray() | list() | tuple():
            items = [plain(item) for item in value]
            return None if None in items else items
        case str() | bool() | int() | float():
            return value
        case _:
            return None
