"""Images are rows of pixels: read here from IDX files, folders and single files."""

from vae_anomaly.images.collection import Images
from vae_anomaly.images.reading import read_images

__all__ = ["Images", "read_images"]
