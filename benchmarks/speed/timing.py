"""One method on one table of numbers, in this very process: seconds, accuracy, and the memory that it takes.

``python -m benchmarks.speed.timing METHOD ROWS COLUMNS`` prints a line of JSON. A process measures once: what the first
method has loaded, or freed and not given back, would count for the second.
"""

import argparse
import ctypes
import json
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from benchmarks.shared.peers import METHODS, Method, Ours, Peer, PyODPeer
from benchmarks.speed.products import products_seconds
from vae_anomaly import VAEDetector

OURS, OURS_NOVELTY = "vae-anomaly", "vae-anomaly, novelty"
MATCHED, PYOD_MATCHED = "vae-anomaly, matched", "PyOD VAE, matched"
LAYERS, LATENTS, BATCH = [64, 64], 16, 256  # of the matched networks
ODD = 0.02  # share of the rows
DIRECTIONS = 5  # that normal rows have in common
NOISE = 0.3


@dataclass
class Matched(Ours):
    """One epoch of one network of the matched sizes, under a standard normal."""

    def fit(self, train: np.ndarray) -> None:
        """As many steps as an epoch has batches; nothing is left out, nothing held out."""
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
    PYOD_MATCHED: Method(PYOD_MATCHED, _pyod_matched, scaled=False, needs="pyod"),
}


@dataclass(frozen=True)
class Timing:
    """What one method took; memory is the largest that the process had beyond what it had before the fit.

    ``products`` is the share of the seconds of the score that the bare matrix products of the same nets take.
    """

    method: str
    rows: int
    columns: int
    fit_seconds: float
    fit_work: float  # seconds of a processor, all cores together: no wait for other work counts
    score_seconds: float
    score_work: float
    fit_mib: float
    score_mib: float
    table_mib: float  # the table itself, as float32
    auroc: float
    products: float
    commit: str = ""
    error: str = ""


def make_table(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (rows, columns) with directions in common, and which rows are odd: theirs are other directions.

    Column by column an odd row is like the others, so that only what looks at columns together can tell it.
    """
    rng = np.random.default_rng(seed)
    odd = rng.random(rows) < ODD
    weights = rng.normal(size=(2, DIRECTIONS, columns))
    weights[1] *= np.linalg.norm(weights[0], axis=0) / np.linalg.norm(weights[1], axis=0)
    x = NOISE * rng.standard_normal((rows, columns))
    for kind, chosen in enumerate((~odd, odd)):
        x[chosen] += rng.standard_normal((np.count_nonzero(chosen), DIRECTIONS)) @ weights[kind]
    return x, odd


def measure(method: Method, rows: int, columns: int) -> Timing:
    """Fit to the whole table and score it anew; scaling, where the method needs it, is the method's work."""
    x, odd = make_table(rows, columns)
    _warm_up(method)
    _forget_peak()
    before = _memory("VmRSS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer, scaled = method.make(False, 0), StandardScaler()
        fit_seconds, fit_work, _ = _timed(lambda: peer.fit(scaled.fit_transform(x) if method.scaled else x))
        fit_peak = _memory("VmHWM")
        _forget_peak()
        new = np.full(rows, -1)  # no score of the fit is handed out again
        score_seconds, score_work, scores = _timed(lambda: peer.score(scaled.transform(x) if method.scaled else x, new))
    score_peak = _memory("VmHWM")
    bare = products_seconds(peer.detector.model_.scorer, rows) if isinstance(peer, Ours) else float("nan")
    return Timing(
        method.name,
        rows,
        columns,
        fit_seconds,
        fit_work,
        score_seconds,
        score_work,
        fit_peak - before,
        score_peak - before,
        x.size * 4 / 2**20,
        float(roc_auc_score(odd, scores)),
        bare / score_seconds,
    )


def _warm_up(method: Method) -> None:
    """Import and compile what the method needs before its time is taken."""
    x, _ = make_table(300, 3)
    peer = method.make(False, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(x)
        peer.score(x, np.full(len(x), -1))


def _timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds on the wall and of a processor, and the result."""
    begin, worked = time.perf_counter(), _work()
    result = work()
    return time.perf_counter() - begin, _work() - worked, result


def _work() -> float:
    """Processor seconds of this process and of children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory(figure: str) -> float:
    """A figure of Linux's about this process, in MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(figure)) / 1024


def _forget_peak() -> None:
    """Give freed memory back, and count the largest anew."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=COMPARED)
    parser.add_argument("rows", type=int)
    parser.add_argument("columns", type=int)
    options = parser.parse_args()
    print(json.dumps(asdict(measure(COMPARED[options.method], options.rows, options.columns))))


if __name__ == "__main__":
    main()
