"""A fitted detector as an ONNX graph, which scores rows without Python or torch: the extra ``onnx``."""

from vae_anomaly.integrations.onnx.exporting import export

__all__ = ["export"]
