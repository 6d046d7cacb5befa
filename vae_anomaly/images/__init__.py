"""Images as rows of pixels: read from IDX files, folders and image files, and written as a grid."""

from vae_anomaly.images.folder import SUFFIXES
from vae_anomaly.images.grid import write_image_grid
from vae_anomaly.images.images import Images
from vae_anomaly.images.read import read_images

__all__ = ["SUFFIXES", "Images", "read_images", "write_image_grid"]
