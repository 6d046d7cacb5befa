"""Callbacks that follow a fit, with the interface of scikit-learn 1.9's ``sklearn.callback``.

A callback is any object with some of these methods; keyword arguments that it does not take are not passed:

- ``setup(estimator, context)`` before the fit, ``teardown(estimator, context)`` after it, also after an error;
- ``on_fit_task_begin(estimator, context)`` and ``on_fit_task_end(estimator, context, *, metadata=None)`` around the fit
  (the root context) and around each round of steps in it. ``metadata`` holds the round's figures, as in ``history_``.
  Returning True from the end of a round stops training;
- ``on_fit_over(estimator, *, fitted_estimator=None, X=None)`` after the whole fit, calibration included.

scikit-learn's own ``ProgressBar`` works here too.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from vae_anomaly.formatting import number


@dataclass(frozen=True)
class Context:
    """The task that a callback is called for: the fit, or one round of steps in it.

    The first ``done`` rounds of a fit are not reported: they come from a checkpoint of the same fit.
    """

    estimator_name: str
    task_name: str
    task_id: int
    max_subtasks: int
    parent: "Context | None" = None
    root_uuid: UUID = field(default_factory=uuid4)
    source_estimator_name: str | None = None
    source_task_name: str | None = None
    done: int = 0


class CallbackRunner:
    """Calls the callbacks of a detector on behalf of the training loop."""

    def __init__(self, estimator: object, callbacks: Iterable[object]):
        self._estimator = estimator
        self._callbacks = list(callbacks)
        self._context = Context(type(estimator).__name__, "fit", 0, 0)

    @contextmanager
    def whole_fit(self, fitting: object, X: object) -> Iterator[None]:
        """Around the whole fit of ``fitting``, calibration included: calls ``on_fit_over`` at its end.

        ``X`` is the table, or the rows in memory of one that is read in pieces. ``fitted_estimator`` is None after an
        error.
        """
        fitted = None
        try:
            yield
            fitted = fitting
        finally:
            for callback in self._callbacks:
                _call(callback, "on_fit_over", self._estimator, fitted_estimator=fitted, X=X)

    @contextmanager
    def training(self, rounds: int, done: int = 0) -> Iterator[None]:
        """Around a training of at most ``rounds`` rounds, of which the first ``done`` come from a checkpoint.

        Every callback that was set up is torn down, also after an error.
        """
        self._context = Context(type(self._estimator).__name__, "fit", 0, rounds, done=done)
        known = self._estimator, self._context
        with ExitStack() as teardowns:
            for callback in self._callbacks:
                _call(callback, "setup", *known)
                teardowns.callback(_call, callback, "teardown", *known)
            for callback in self._callbacks:
                _call(callback, "on_fit_task_begin", *known)
            yield
            for callback in self._callbacks:
                _call(callback, "on_fit_task_end", *known, metadata={})

    def report(self, number: int, metrics: Mapping[str, float]) -> bool:
        """Report round ``number``; returns whether a callback asks to stop."""
        if not self._callbacks:
            return False
        root = self._context
        known = self._estimator, Context(root.estimator_name, "round", number, 0, root, root.root_uuid)
        for callback in self._callbacks:
            _call(callback, "on_fit_task_begin", *known)
        ends = [_call(callback, "on_fit_task_end", *known, metadata=dict(metrics)) for callback in self._callbacks]
        return any(end is True for end in ends)


def _call(callback: object, name: str, *known: object, **details: Any) -> Any:
    """Call a method of a callback, if it has it, with those details that it takes."""
    hook = getattr(callback, name, None)
    if hook is None:
        return None
    parameters = inspect.signature(hook).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        details = {name: value for name, value in details.items() if name in parameters}
    return hook(*known, **details)


class ProgressBar:
    """Progress bar on standard error with the latest figures; silent where standard error is not a terminal."""

    def setup(self, estimator: object, context: Context) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("training", total=context.max_subtasks, completed=context.done, figures="")
        self._progress.start()

    def on_fit_task_end(self, estimator: object, context: Context, *, metadata: Mapping[str, float]) -> None:
        if context.parent is not None:
            shown = [name for name in ("elbo", "held_out_elbo") if name in metadata]
            figures = "  ".join(f"{name} {number(metadata[name])}" for name in shown)
            self._progress.update(self._task, advance=1, figures=figures)

    def teardown(self, estimator: object, context: Context) -> None:
        if not self._progress.disable:  # rich before 14 ends even a disabled bar with a line
            self._progress.stop()
