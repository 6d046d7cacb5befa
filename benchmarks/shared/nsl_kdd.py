"""NSL-KDD: connections with mixed columns, labelled with the attack that each belongs to."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

LABEL = "attack"
FAMILIES = {  # of the attacks in the training files, as their authors group them
    "normal": ["normal"],
    "dos": ["back", "land", "neptune", "pod", "smurf", "teardrop"],
    "probe": ["ipsweep", "nmap", "portsweep", "satan"],
    "r2l": ["ftp_write", "guess_passwd", "imap", "multihop", "phf", "spy", "warezclient", "warezmaster"],
    "u2r": ["buffer_overflow", "loadmodule", "perl", "rootkit"],
}


def families(attacks: pd.Series) -> np.ndarray:
    """The family of each attack; an attack that the list does not know is a ``ValueError``."""
    family = {attack: name for name, group in FAMILIES.items() for attack in group}
    if unknown := sorted(set(attacks) - set(family)):
        raise ValueError(f"No family is known of these attacks: {', '.join(unknown)}. Add them to FAMILIES.")
    return attacks.map(family).to_numpy(dtype=str)


def one_hot(rows: pd.DataFrame) -> Pipeline:
    """Standardised numbers beside text as indicators; a text not seen in training has none."""
    text = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(make_column_transformer((encoder, text), remainder=StandardScaler()))
