"""NSL-KDD: connections with numbers and text, each labelled with its attack."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from vae_anomaly import read_table

FAMILIES = {  # attacks of the training file, grouped as by the authors of the data set
    "normal": ["normal"],
    "dos": ["back", "land", "neptune", "pod", "smurf", "teardrop"],
    "probe": ["ipsweep", "nmap", "portsweep", "satan"],
    "r2l": ["ftp_write", "guess_passwd", "imap", "multihop", "phf", "spy", "warezclient", "warezmaster"],
    "u2r": ["buffer_overflow", "loadmodule", "perl", "rootkit"],
}


class Connections(NamedTuple):
    """Columns of each connection, and the name of its attack ("normal" for none)."""

    rows: pd.DataFrame
    attacks: pd.Series

    @property
    def normal(self) -> pd.DataFrame:
        """The connections that are no attack."""
        return self.rows[self.attacks == "normal"]


def read_connections(path: Path) -> Connections:
    """Connections of the training file, with the column ``attack`` split off."""
    table = read_table(path)
    return Connections(table.drop(columns="attack"), table["attack"])


def families(attacks: pd.Series) -> np.ndarray:
    """Family of each attack; a ``ValueError`` names attacks without one."""
    family = {attack: name for name, group in FAMILIES.items() for attack in group}
    if unknown := sorted(set(attacks) - set(family)):
        raise ValueError(f"Attacks without a family: {', '.join(unknown)}. Add them to FAMILIES.")
    return attacks.map(family).to_numpy(dtype=str)


def one_hot(rows: pd.DataFrame) -> Pipeline:
    """Pipeline to standardised numbers and one-hot text; text that was not seen in training is all zeros."""
    text = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(make_column_transformer((encoder, text), remainder=StandardScaler()))
