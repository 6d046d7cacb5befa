import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

N = 300


def people(n, seed):
    """Two factors behind numbers, a category, a flag and a date; some cells are missing."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(size=(2, n))
    height = 170 + 10 * size + rng.normal(size=n)
    return pd.DataFrame(
        {
            "height": np.where(rng.random(n) < 0.1, np.nan, height),
            "cost in $ of a_b and $": 50 + 20 * age + 2 * rng.normal(size=n),
            "build": pd.Series(np.where(size > 0.8, "large", np.where(size < -0.8, "small", "usual"))).mask(
                rng.random(n) < 0.1
            ),
            "retired": age > 1,
            "born": pd.Timestamp("1980-01-01") - pd.to_timedelta((3000 * age).round(), unit="D"),
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(20260117)


@pytest.fixture(scope="session")
def table():
    return people(N, 0)


@pytest.fixture(scope="session")
def model(table):
    """A model of the mixed table, with held-out rows."""
    return VAEDetector(purpose="representation", n_components=5, max_iter=150, random_state=0).fit(table)


@pytest.fixture(scope="session")
def numbers():
    """An array of five columns that hang together."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(200, 5))


@pytest.fixture(scope="session")
def of_numbers(numbers):
    """A model of the array, without held-out rows."""
    return VAEDetector(max_iter=40, random_state=0).fit(numbers)


@pytest.fixture(scope="session")
def plain(table):
    """A plain autoencoder."""
    return VAEDetector(variational=False, n_components=3, max_iter=40, random_state=0).fit(table)


@pytest.fixture(scope="session")
def of_images(numbers):
    """A model of images, one row of five pixels each, in a range of their own."""
    return VAEDetector(image_shape=(1, 1, 5), max_iter=40, random_state=0).fit(numbers)


@pytest.fixture(scope="session")
def bright(numbers):
    """How bright a pixel of those images is drawn: 0 the darkest of the fit, 1 the brightest."""

    def brightness(pixels):
        return np.clip((np.asarray(pixels) - numbers.min()) / np.ptp(numbers), 0, 1)

    return brightness
