"""Translations of torch operations into ONNX, for those that torch.onnx translates inexactly or not for float64.

Each function has the parameters of the torch operation, and builds ONNX nodes. Constants keep their type: torch.onnx
rounds them to float32.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import opset20 as op

OPSET = 20
SHIFT = 8  # from here on, Stirling's series is exact to 12 digits
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def constant(value: float, dtype: int = TensorProto.FLOAT, *_layout: object, **_more: object) -> Any:
    """A number of type ``dtype``."""
    return op.Constant(value=numpy_helper.from_array(np.array(value, dtype=helper.tensor_dtype_to_np_dtype(dtype))))


def full_like(x: Any, value: float, dtype: int = -1, *_layout: object, **_more: object) -> Any:
    """``value`` in the shape of ``x``."""
    return op.Expand(constant(value, x.dtype if dtype == -1 else dtype), op.Shape(x))


def silu(x: Any) -> Any:
    """``x / (1 + exp(-x))``; onnxruntime 1.20 would fuse ``x * sigmoid(x)`` into an operation for float32 only."""
    return op.Div(x, op.Add(constant(1.0, x.dtype), op.Exp(op.Neg(x))))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(x))``, without overflow."""
    one = constant(1.0, x.dtype)
    return op.Add(op.Relu(x), op.Log(op.Add(one, op.Exp(op.Neg(op.Abs(x))))))


def lgamma(x: Any) -> Any:
    """Logarithm of the gamma function for ``x`` >= 1: Stirling's series after eight steps of the recurrence."""
    far = op.Add(x, constant(SHIFT, x.dtype))
    log_far = op.Log(far)
    total = op.Sub(op.Mul(op.Sub(far, constant(0.5, x.dtype)), log_far), far)
    total = op.Add(total, constant(HALF_LOG_TWO_PI, x.dtype))
    for index, term in enumerate(STIRLING):
        total = op.Add(total, op.Mul(constant(term, x.dtype), op.Pow(far, constant(-1 - 2 * index, x.dtype))))
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
