"""Tables of ADBench and OddBench: reading, splitting for a setting, subsampling, and downloading with checksums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ADDRESS = "https://github.com/Minqi824/ADBench/raw/main/adbench/datasets/Classical/"
CHECKSUMS = {  # SHA-256 by file; a file without a checksum is not downloaded
    "11_donors.npz": "5824ec854465f2763b4bfe3da1ae9f25ed5433b5c6e265d42e37da4f82a58679",
    "12_fault.npz": "ec27301f9a4cf7c5d8b22c360cf37ddb043b7fb062465723dfd8b34e2771e5dd",
    "16_http.npz": "9d98710091551587f4740cfc851a6b064fff6319a337c2dc77ee6da4bcc2e02c",
    "1_ALOI.npz": "792d0b5bd1147bfc9574a1974f157b39fbd4cbed8ecd04cf983fd554498ed477",
    "20_letter.npz": "f986d3da80cf1fa2aea83a5ebe73b7d4800e0d4c01fdd1ae074b58d20f10d039",
    "23_mammography.npz": "a0308ac9712d78321073b1c2dc98dc37665c0f35c1cc33019416fe8f8d7de7ea",
    "25_musk.npz": "2ed3f4392197b76a1e59116ff880c7720a4b026cf4842073a53b56fdea265017",
    "27_PageBlocks.npz": "10a9b4d5bb5d3b9083caab4c4062f665610eada703c3d927bf7c34b1f2d0d223",
    "28_pendigits.npz": "c4936b89dcdad59d303020e492f763a0f54170080d787c77497609acbb9c2d79",
    "2_annthyroid.npz": "e738f7c58a8740d2c4aac4c71ff49ce5e1d1aa16f44178135fc9c09df05fad1b",
    "30_satellite.npz": "1f048f5686f1b8c16a227fdfa3c81a62cd9a92715714a6b24c69b1c5ad96b46e",
    "31_satimage-2.npz": "1b056e357f801b8b20c3f380a30224a3c4088d7ed764ec5a24828dc9b1918d6f",
    "33_skin.npz": "d02aa01ffc1b6bf2b8b1ac250c90e8a8eacd0cefc962940ed5cc4bf5deac9c95",
    "37_Stamps.npz": "99fe739447284f613fa54bf2dccdb51c5120175ce6260adec6dad77576c42509",
    "41_Waveform.npz": "6c9d867337ad1a2f8372c1d27f4c032f0401237e2041b7c45f00de8d319ff30f",
    "42_WBC.npz": "650f9dcb129248f67a291be0974f533ef259fcbde50fce5c8ad2a1cb2652d03b",
    "43_WDBC.npz": "78d4606a1ab516f5b60b00c196497f3bbd6bd5e4548fd04cf5f2475209b34b85",
    "45_wine.npz": "d5ad8965d92cc57122fe1e6572bb301adbaf795b3e166d187ae00a704d8f6e20",
    "46_WPBC.npz": "68a6d67242643855713bcdad07d89ecc472bd00000dccc17ba87916eb2693d19",
    "47_yeast.npz": "bbb15c873d78a4f6a589f46d0f75814595e2282d2ae7ce7779c750f276c3770d",
    "6_cardio.npz": "bc5009bde6930b4d298b594f31b34485a9a17210cff0e8fb00a8c3068b885a2d",
}


@dataclass(frozen=True)
class Table:
    """Raw numbers (rows, columns), and a label for each row: 1 for an anomaly, else 0."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Split:
    """Training rows, test rows and the labels of the test rows; only the metric reads ``labels``."""

    novelty: bool  # whether all training rows are normal
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    train_index: np.ndarray  # index of each test row among the training rows; -1 for a row that is not one of them

    def subsample(self, limit: int | None, seed: int) -> "Split":
        """Split with at most ``limit`` training rows, sampled by seed, and all test rows."""
        if limit is None or len(self.train) <= limit:
            return self
        rows = np.random.default_rng([seed, limit]).permutation(len(self.train))[:limit]
        index = np.full(len(self.train) + 1, -1)  # the extra last entry maps -1 to -1
        index[rows] = np.arange(limit)
        return replace(self, train=self.train[rows], train_index=index[self.train_index])


def split_novelty(table: Table, seed: int) -> Split:
    """Split with a random half of the normal rows for training; the other half and every anomaly are scored."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(table.y == 0))
    half = len(normal) // 2
    test = np.concatenate([normal[half:], np.flatnonzero(table.y == 1)])
    return Split(True, table.x[normal[:half]], table.x[test], table.y[test], np.full(len(test), -1))


def split_outlier(table: Table, seed: int) -> Split:
    """Split in which every row is used for training and scored, whatever the seed."""
    return Split(False, table.x, table.x, table.y, np.arange(len(table.x)))


SPLITS = {"novelty": split_novelty, "outlier": split_outlier}


def read_split(path: Path, setting: str, seed: int, cap: int = 0) -> Split:
    """Split of a file for a setting.

    A file in the form of OddBench gives its novelty split; in outlier detection, its test rows are the table. ``cap``
    is the most rows of a table, or of each part of a given split; 0 keeps all.
    """
    with np.load(path) as file:
        if "train" not in file.files:
            return SPLITS[setting](read_table(path, cap), seed)
        train, test, labels = (np.asarray(file[name]) for name in ("train", "test", "test_labels"))
    train, test, labels = train.astype(np.float64), test.astype(np.float64), labels.astype(np.int64)
    if cap > 0:
        rng = np.random.default_rng(0)
        train, rows = rng.permutation(train)[:cap], rng.permutation(len(test))[:cap]
        test, labels = test[rows], labels[rows]
    if setting == "outlier":
        return split_outlier(Table(test, labels), seed)
    return Split(True, train, test, labels, np.full(len(test), -1))


def read_table(path: Path, cap: int = 0) -> Table:
    """Table of a file, with at most ``cap`` rows; a ``cap`` of 0 keeps every row.

    The sample is the same for every seed and keeps the fraction of anomalies.
    """
    with np.load(path) as file:
        x, y = np.ascontiguousarray(file["X"], dtype=np.float64), file["y"].astype(np.int64)
    if not 0 < cap < len(y):
        return Table(x, y)
    order = np.random.default_rng(0).permutation(len(y))
    n_anomalies = max(1, round(cap * y.mean()))
    rows = np.concatenate([order[y[order] == 1][:n_anomalies], order[y[order] == 0][: cap - n_anomalies]])
    return Table(x[rows], y[rows])


def find_tables(folder: Path) -> list[Path]:
    """Sorted ``.npz`` files of a folder; a ``ValueError`` names a file without both normal rows and anomalies."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{folder} holds no .npz file. Name another folder, or download the tables with --download.")
    for path in paths:
        with np.load(path) as file:
            labels = "test_labels" if "train" in file.files else "y"
            if not ({"X", "y"} <= set(file.files) or {"train", "test", "test_labels"} <= set(file.files)):
                expected = "X and y, or train, test and test_labels"
                raise ValueError(f"{path.name} holds the arrays {file.files}; expected {expected}.")
            if set(np.unique(file[labels])) != {0, 1}:
                raise ValueError(f"{path.name}: {labels} must hold both 0 (normal) and 1 (anomaly). Move it away.")
    return paths


def download(
    folder: Path, *, address: str = ADDRESS, checksums: Mapping[str, str] = CHECKSUMS, names: Sequence[str] = ()
) -> None:
    """Download the files that the folder lacks; refuse a file whose checksum differs.

    Parameters
    ----------
    folder : Path
        Destination.
    address : str
        URL of the files' folder, ending in a slash.
    checksums : mapping
        Hexadecimal SHA-256 digest by file name.
    names : sequence of str
        Files to download; by default all that have a checksum.

    Raises
    ------
    ValueError
        A file's checksum is not the expected one; the file is not kept.
    OSError
        The address cannot be reached.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    registry = {name: f"sha256:{digest}" for name, digest in checksums.items()}
    store = pooch.create(folder, base_url=address, registry=registry)
    for name in names or sorted(registry):
        store.fetch(name)
