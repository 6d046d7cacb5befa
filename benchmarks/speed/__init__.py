"""Seconds and memory over table sizes: ``python -m benchmarks.speed``, ``.profile``, ``.scale`` and ``.onnx``."""
