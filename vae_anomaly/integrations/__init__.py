"""Bridges to other software, each an optional extra: `mlflow` and `onnx`."""
