"""Where the arithmetic runs, and how exactly."""

import os

import torch

from vae_anomaly.errors import DeviceError

TYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """The device that was asked for; "auto" takes CUDA where there is one, else the processor.

    Raises
    ------
    DeviceError
        The device is not to be had on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
        torch.Generator(chosen)  # "meta" has tensors, but nothing in them
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"device={device!r} was asked for, but torch cannot use it here. "
            "Use device='auto' to let it choose, or device='cpu'."
        ) from error
    return chosen


def resolve_precision(precision: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Types of training and of scoring; "auto" trains in float32 and scores in float64 where the device has it."""
    has_double = device.type != "mps"
    if precision == "auto":
        return torch.float32, torch.float64 if has_double else torch.float32
    if precision == "float64" and not has_double:
        raise DeviceError(
            f"precision='float64' was asked for, but device {str(device)!r} has no float64. Use device='cpu'."
        )
    return TYPES[precision], TYPES[precision]


def _one_thread() -> None:
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # torch hangs in a forked child once its parent has used two threads
    os.register_at_fork(after_in_child=_one_thread)
