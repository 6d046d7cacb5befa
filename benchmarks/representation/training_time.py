"""How long the convolutional default learns codes of as many images as MNIST has to train on."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.representation.mnist import SHAPE, read_digits
from benchmarks.representation.tasks import Method, Result
from benchmarks.shared.peers import OURS
from vae_anomaly import VAEDetector

COPIES = 6  # of the 10,000 test images: 60,000
FURTHEST = 2  # pixels that a copy is moved by
NOISE = 0.02
MEASURES = [LEARN, WORK, CODE, STEPS] = ["seconds to learn", "of a processor", "seconds to code", "steps"]


def copied(pixels: np.ndarray, copies: int, seed: int) -> np.ndarray:
    """Copies of images (images, pixels), each moved by some pixels and with some noise: no two are alike."""
    rng = np.random.default_rng(seed)
    _, height, width = SHAPE
    images = np.tile(pixels.reshape(-1, height, width), (copies, 1, 1))
    moves = rng.integers(-FURTHEST, FURTHEST + 1, size=(len(images), 2))
    moved = np.stack([np.roll(image, move, axis=(0, 1)) for image, move in zip(images, moves, strict=True)])
    return (moved + NOISE * rng.random(moved.shape)).clip(0, 1).reshape(len(images), -1)


@dataclass(frozen=True)
class TrainingTimeTask:
    """Seconds of one fit and one transform, as many threads as the machine gives."""

    pixels: np.ndarray
    methods: Sequence[Method]  # make(seed) is a transformer that tells its steps
    copies: int = COPIES

    @property
    def measures(self) -> list[str]:
        """Seconds and steps; those of a processor count all cores in use, and no wait for other work."""
        return MEASURES

    def measure(self, method: Method, seed: int, lacking: Collection[str]) -> Iterator[Result]:
        """All at once."""
        rows = copied(self.pixels, self.copies, seed)
        coder = method.make(seed)
        begin, worked = time.perf_counter(), time.process_time()
        coder.fit(rows)
        learned, work = time.perf_counter(), time.process_time() - worked
        coder.transform(rows)
        coded = time.perf_counter()
        values = {LEARN: learned - begin, WORK: work, CODE: coded - learned, STEPS: float(coder.n_iter_)}
        yield from (Result(name, value, coded - begin) for name, value in values.items())


def represent(seed: int) -> VAEDetector:
    """Ours, all defaults."""
    return VAEDetector(purpose="representation", image_shape=SHAPE, random_state=seed)


def build_training_time(data: Path) -> TrainingTimeTask:
    """The test digits of MNIST, six times."""
    return TrainingTimeTask(read_digits(data / "mnist").pixels, [Method(OURS, represent, seeds=1)])
