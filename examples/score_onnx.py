"""Score a table with an exported graph; needs onnxruntime, numpy and pandas, but neither torch nor vae-anomaly.

python score_onnx.py model.onnx table.csv
"""

import json
import re
import sys

import numpy as np
import onnxruntime
import pandas as pd


def shape_of(text: str) -> str:
    """Shape of a text: digits as 9, letters as A or a, long runs of either and of alike words shortened."""
    signs = ("9" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in text)
    shape = re.sub(r"9{5,}", "9999", re.sub(r"([aA])\1+", r"\1", "".join(signs)))
    return re.sub(r"(\S+ )\1{2,}", r"\1", shape)


def as_numbers(values: pd.Series, column: dict) -> np.ndarray:
    """One column as input of the graph: floats, NaN for missing values, infinity for text that is no such value."""
    match column["kind"]:
        case "category" | "text":
            if column["kind"] == "text":
                values = values.map(lambda value: shape_of(str(value)), na_action="ignore")
            codes = dict(zip(column["levels"], column["codes"], strict=True))

            def code_of(value: object) -> int:
                forms = (value, str(value), str(value).removesuffix(".0"))  # a number that is a level is its text
                return next((codes[form] for form in forms if form in codes), column["unseen"])

            found = values.map(code_of, na_action="ignore")
            return found.to_numpy(np.float64, na_value=np.nan)
        case "date":
            dates = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
            found = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(microseconds=1)
        case "number" if column.get("unit") == "seconds":
            found = pd.to_timedelta(values, errors="coerce").dt.total_seconds()
        case _:
            found = pd.to_numeric(values, errors="coerce")
    return found.mask(found.isna() & values.notna(), np.inf).to_numpy(np.float64, na_value=np.nan)


def score(graph: str, table: pd.DataFrame, rows_at_once: int = 1024) -> pd.DataFrame:
    """Anomaly scores and verdicts of the rows of a table."""
    session = onnxruntime.InferenceSession(graph)
    about = json.loads(session.get_modelmeta().custom_metadata_map["vae_anomaly"])
    assert about["format"] == 1, "the graph is newer than this script"
    rows = np.stack([as_numbers(table[column["name"]], column) for column in about["columns"]], axis=1)
    parts = [session.run(None, {"rows": rows[at : at + rows_at_once]}) for at in range(0, len(rows), rows_at_once)]
    scores, is_anomaly = (np.concatenate(part) for part in zip(*parts, strict=True))
    return pd.DataFrame({"anomaly_score": scores, "is_anomaly": is_anomaly}, index=table.index)


if __name__ == "__main__":
    score(sys.argv[1], pd.read_csv(sys.argv[2])).to_csv(sys.stdout, index=False)
