"""Seconds and memory over table sizes: ``python -m benchmarks.speed``, ``.scale`` and ``.onnx``."""
