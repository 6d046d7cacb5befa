"""Seconds, accuracy and memory of one method on one table of numbers, measured in this process.

``python -m benchmarks.speed.timing METHOD ROWS COLUMNS`` prints a line of JSON. Each process measures once, because
memory that a first method has loaded or not returned would distort the second measurement.
"""

import ctypes
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from benchmarks.shared.command import make_parser
from benchmarks.shared.peers import METHODS, Method, Ours, Peer, PyODPeer, warm_up
from benchmarks.shared.timing import timed
from benchmarks.speed.products import products_seconds
from vae_anomaly import VAEDetector

OURS, OURS_NOVELTY = "vae-anomaly", "vae-anomaly, novelty"
MATCHED, PYOD_MATCHED = "vae-anomaly, matched", "PyOD VAE, matched"
LAYERS, LATENTS, BATCH = [64, 64], 16, 256  # of the matched networks
ANOMALIES = 0.02  # fraction of the rows
DIRECTIONS = 5  # common to the normal rows
NOISE = 0.3


@dataclass
class Matched(Ours):
    """One epoch of one network of the matched sizes, with a standard normal prior."""

    def fit(self, train: np.ndarray) -> None:
        """Train one step for each batch of an epoch; no rows are trimmed or held out."""
        self.detector = VAEDetector(
            n_estimators=1,
            hidden_layer_sizes=LAYERS,
            n_components=LATENTS,
            prior="gaussian",
            max_iter=max(1, len(train) // BATCH),
            batch_size=BATCH,
            random_state=self.seed,
        ).fit(train)


def _pyod_matched(novelty: bool, seed: int) -> Peer:
    sizes = {"encoder_neuron_list": LAYERS, "decoder_neuron_list": LAYERS[::-1], "latent_dim": LATENTS}
    training = {"epoch_num": 1, "batch_size": BATCH, "random_state": seed, "verbose": 0}
    return PyODPeer("vae", "VAE", {**sizes, **training})


COMPARED = {
    **{method.name: method for method in METHODS.values()},
    OURS: Method(OURS, lambda novelty, seed: Ours(False, seed), scaled=False),
    OURS_NOVELTY: Method(OURS_NOVELTY, lambda novelty, seed: Ours(True, seed), scaled=False),
    MATCHED: Method(MATCHED, lambda novelty, seed: Matched(novelty, seed), scaled=False),
    PYOD_MATCHED: Method(PYOD_MATCHED, _pyod_matched, scaled=False, requires="pyod"),
}


@dataclass(frozen=True)
class Timing:
    """Seconds and memory of a method; memory is the peak of the process minus its memory before the fit.

    ``products`` is the time of the bare matrix products of the same networks as a fraction of the score's seconds.
    """

    method: str
    rows: int
    columns: int
    fit_seconds: float
    fit_work: float  # processor seconds of all cores together; waiting does not count
    score_seconds: float
    score_work: float
    fit_mib: float
    score_mib: float
    table_mib: float  # the table as float32
    auroc: float
    products: float
    commit: str = ""
    error: str = ""


def make_table(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (rows, columns) with common directions, and whether each row is an anomaly, with other directions.

    Each column has the same distribution in both groups, so that only a method that uses columns jointly finds them.
    """
    rng = np.random.default_rng(seed)
    is_anomaly = rng.random(rows) < ANOMALIES
    weights = rng.normal(size=(2, DIRECTIONS, columns))
    weights[1] *= np.linalg.norm(weights[0], axis=0) / np.linalg.norm(weights[1], axis=0)
    x = NOISE * rng.standard_normal((rows, columns))
    for group, chosen in enumerate((~is_anomaly, is_anomaly)):
        x[chosen] += rng.standard_normal((np.count_nonzero(chosen), DIRECTIONS)) @ weights[group]
    return x, is_anomaly


def measure(method: Method, rows: int, columns: int) -> Timing:
    """Fit a method to a table and score the same rows as new ones; scaling counts towards its time."""
    x, is_anomaly = make_table(rows, columns)
    warm_up(method)
    _reset_peak()
    before = _memory("VmRSS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer, scaler = method.make(False, 0), StandardScaler()
        fit = timed(lambda: peer.fit(scaler.fit_transform(x) if method.scaled else x))
        fit_peak = _memory("VmHWM")
        _reset_peak()
        unknown = np.full(rows, -1)  # so that no scores of the fit are reused
        score = timed(lambda: peer.score(scaler.transform(x) if method.scaled else x, unknown))
    score_peak = _memory("VmHWM")
    bare = products_seconds(peer.detector.model_.scorer, rows) if isinstance(peer, Ours) else float("nan")
    return Timing(
        method.name,
        rows,
        columns,
        fit.seconds,
        fit.cpu_seconds,
        score.seconds,
        score.cpu_seconds,
        fit_peak - before,
        score_peak - before,
        x.size * 4 / 2**20,
        float(roc_auc_score(is_anomaly, score.result)),
        bare / score.seconds,
    )


def _memory(figure: str) -> float:
    """Memory of this process in MiB, as reported by Linux under this name."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(figure)) / 1024


def _reset_peak() -> None:
    """Return freed memory to the system, and reset the peak memory."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measurement."""
    parser = make_parser("benchmarks.speed.timing", __doc__)
    parser.add_argument("method", choices=COMPARED)
    parser.add_argument("rows", type=int)
    parser.add_argument("columns", type=int)
    options = parser.parse_args(arguments)
    print(json.dumps(asdict(measure(COMPARED[options.method], options.rows, options.columns))))


if __name__ == "__main__":
    main()
