"""How MLflow is spoken to: with little patience where its store is away, and without a word on standard output."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as database
from sqlalchemy.exc import SQLAlchemyError

FAILURES = (MlflowException, SQLAlchemyError, OSError)  # how a store says that it cannot; OSError also from requests
_MANNERS = {  # environment variables of MLflow's, for those that the user has not set
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # 7, which takes four minutes where nobody answers
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_MOST_TRIES = 3  # to open a database: 10 take 100 s, and no variable says how many


@contextmanager
def manners(wanted: Mapping[str, str] = _MANNERS) -> Iterator[None]:
    """Within the block MLflow gives up after seconds and prints nothing; what the user has set is respected."""
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    tries = database.MAX_RETRY_COUNT
    os.environ.update(ours)
    database.MAX_RETRY_COUNT = _MOST_TRIES
    try:
        yield
    finally:
        database.MAX_RETRY_COUNT = tries
        for name in ours:
            os.environ.pop(name, None)


def first_line(error: BaseException) -> str:
    """What went wrong, short and without a password: MLflow's errors go on for pages."""
    text = str(error).strip()
    return _without_password(text.splitlines()[0]) if text else type(error).__name__


def store() -> str:
    """Where runs are kept, without the password that an address may hold."""
    return _without_password(mlflow.get_tracking_uri())


def _without_password(text: str) -> str:
    return re.sub(r"//[^@/\s]*@", "//", text)
