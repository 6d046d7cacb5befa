"""Images are rows of pixels: read here from IDX files, folders and single files, and written as a grid to look at."""

from vae_anomaly.images.collection import Images
from vae_anomaly.images.decoding import SUFFIXES
from vae_anomaly.images.grid import write_image_grid
from vae_anomaly.images.reading import read_images

__all__ = ["SUFFIXES", "Images", "read_images", "write_image_grid"]
