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
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from vae_anomaly.formatting import number

if TYPE_CHECKING:
    from rich.progress import Progress


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
    """Progress of a fit: a bar with the latest figures while it trains, then that it calibrates.

    It is drawn on standard error if that is a terminal, and below the cell of a notebook; nowhere else.
    """

    _progress: "Progress | NotebookLine | None" = None

    def setup(self, estimator: object, context: Context) -> None:
        self._begin("training", context.max_subtasks, context.done)

    def on_fit_task_end(self, estimator: object, context: Context, *, metadata: Mapping[str, float]) -> None:
        if context.parent is not None and self._progress is not None:
            shown = [name for name in ("elbo", "held_out_elbo") if name in metadata]
            figures = "  ".join(f"{name} {number(metadata[name])}" for name in shown)
            self._progress.update(self._task, advance=1, figures=figures)

    def teardown(self, estimator: object, context: Context) -> None:
        self._begin("calibrating", None)

    def on_fit_over(self, estimator: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _begin(self, name: str, total: int | None, done: int = 0) -> None:
        """Show another task in place of the last one."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.on_fit_over(None)
        console = Console(stderr=True)
        if console.is_jupyter:
            self._progress = NotebookLine()
        elif console.is_terminal:
            texts = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}")
            self._progress = Progress(*texts, TimeRemainingColumn(), console=console, transient=True)
        else:
            return
        self._task: Any = self._progress.add_task(name, total=total, completed=done, figures="")
        self._progress.start()


class NotebookLine:
    """One line of text below the cell of a notebook, with the verbs of ``Progress``, which needs widgets there."""

    def add_task(self, name: str, *, total: int | None, completed: int, figures: str) -> None:
        """Name the task, and the number of its parts."""
        self._name, self._total, self._done, self._figures = name, total, completed, figures

    def start(self) -> None:
        """Show the line."""
        from IPython.display import display

        self._handle = display({"text/plain": self._text()}, raw=True, display_id=True)

    def update(self, _task: None, *, advance: int, figures: str) -> None:
        """Count parts that are done."""
        self._done, self._figures = self._done + advance, figures
        self._handle.update({"text/plain": self._text()}, raw=True)

    def stop(self) -> None:
        """Empty the line."""
        self._handle.update({"text/plain": ""}, raw=True)

    def _text(self) -> str:
        done = "" if self._total is None else f" {self._done} of {self._total}  {self._figures}"
        return f"{self._name}{done}"
