"""
Images: digits by latents
=========================

1,797 digits of 8 x 8 pixels. Sixteen latents, learned from the first 900, hold what distinguishes them: pictures of
the reconstructions, and of what each latent changes.
"""

from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from vae_anomaly import VAEDetector

pixels, labels = load_digits(return_X_y=True)
encoder = VAEDetector(purpose="representation", image_shape=(1, 8, 8), random_state=0).fit(pixels[:900] / 16)
latents = encoder.transform(pixels / 16)
neighbours = KNeighborsClassifier(5).fit(latents[:900], labels[:900])
print(f"{neighbours.score(latents[900:], labels[900:]):.3f} of the other half are classified correctly")

# %%
# Digits and their reconstructions from 16 numbers:

figure = encoder.plot.reconstructions(pixels[:12] / 16)

# %%
# What changes along the latents that carry most:

traversal = encoder.plot.traversal()
