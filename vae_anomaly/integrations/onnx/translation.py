"""Operations of torch that torch.onnx translates badly, or into what onnxruntime lacks in float64, in ONNX's own.

Each function takes what the torch operation takes, and builds nodes. Constants keep their type: torch.onnx has them
pass through float32.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import opset20 as op

OPSET = 20
SHIFT = 8  # beyond which Stirling's series is exact to 12 digits
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def constant(value: float, dtype: int = TensorProto.FLOAT, *_place: object, **_where: object) -> Any:
    """A number of this type."""
    return op.Constant(value=numpy_helper.from_array(np.array(value, dtype=helper.tensor_dtype_to_np_dtype(dtype))))


def full_like(x: Any, value: float, dtype: int = -1, *_place: object, **_where: object) -> Any:
    """The number in the shape of ``x``."""
    return op.Expand(constant(value, x.dtype if dtype == -1 else dtype), op.Shape(x))


def silu(x: Any) -> Any:
    """``x / (1 + exp(-x))``; onnxruntime 1.20 fuses ``x * sigmoid(x)`` into what it has for float32 alone."""
    return op.Div(x, op.Add(constant(1.0, x.dtype), op.Exp(op.Neg(x))))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(x))``, without overflow."""
    one = constant(1.0, x.dtype)
    return op.Add(op.Relu(x), op.Log(op.Add(one, op.Exp(op.Neg(op.Abs(x))))))


def lgamma(x: Any) -> Any:
    """Log of the gamma function from 1 up, by Stirling's series after eight steps of its recurrence."""
    far = op.Add(x, constant(SHIFT, x.dtype))
    log_far = op.Log(far)
    total = op.Sub(op.Mul(op.Sub(far, constant(0.5, x.dtype)), log_far), far)
    total = op.Add(total, constant(HALF_LOG_TWO_PI, x.dtype))
    for place, term in enumerate(STIRLING):
        total = op.Add(total, op.Mul(constant(term, x.dtype), op.Pow(far, constant(-1 - 2 * place, x.dtype))))
    for step in range(SHIFT):
        total = op.Sub(total, op.Log(op.Add(x, constant(step, x.dtype))))
    return total


TABLE: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scalar_tensor.default: constant,
    torch.ops.aten.full_like.default: full_like,
    torch.ops.aten.silu.default: silu,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.lgamma.default: lgamma,
}
