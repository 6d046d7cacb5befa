"""Telling the outside how a fit goes on, in the shape of scikit-learn 1.9's ``sklearn.callback``.

A callback is any object with some of these methods; what it does not take is not passed:

- ``setup(estimator, context)`` before the fit, ``teardown(estimator, context)`` after it, also after an error;
- ``on_fit_task_begin(estimator, context)`` and ``on_fit_task_end(estimator, context, *, metadata=None)`` around the fit
  (the root context) and around each round of steps within it. ``metadata`` holds the round's figures, those of
  ``history_``. Returning True from the end of a round stops training.

scikit-learn's own ``ProgressBar`` works here too.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4


@dataclass(frozen=True)
class Context:
    """The task that a callback is called for: the fit, or one round of steps in it.

    ``done`` of the fit's rounds are not reported, because they were before it was broken off; a checkpoint kept them.
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
    """Speaks to the callbacks on behalf of the training loop."""

    def __init__(self, estimator: object, callbacks: Iterable[object]):
        self._estimator = estimator
        self._callbacks = list(callbacks)
        self._teardowns = ExitStack()
        self._context = Context(type(estimator).__name__, "fit", 0, 0)

    @contextmanager
    def whole_fit(self, fitting: object, X: object) -> Iterator[None]:
        """Around all of the fit of ``fitting``, which has its attributes when the block ends without an error.

        ``X`` is the table, or the rows at hand of one that is read in pieces.
        """
        fitted = None
        try:
            yield
            fitted = fitting
        finally:
            for callback in self._callbacks:
                _tell(callback, "on_fit_over", self._estimator, fitted_estimator=fitted, X=X)

    def begin(self, rounds: int, *, done: int = 0) -> None:
        """Announce a fit of at most ``rounds`` rounds, of which so many are ``done``."""
        self._context = Context(type(self._estimator).__name__, "fit", 0, rounds, done=done)
        for callback in self._callbacks:
            _tell(callback, "setup", self._estimator, self._context)
            self._teardowns.callback(_tell, callback, "teardown", self._estimator, self._context)
        self._call("on_fit_task_begin", self._context)

    def report(self, number: int, metrics: Mapping[str, float]) -> bool:
        """Round ``number`` is done; returns whether a callback asks to stop."""
        root = self._context
        context = Context(root.estimator_name, "round", number, 0, root, root.root_uuid)
        self._call("on_fit_task_begin", context)
        return any(answer is True for answer in self._call("on_fit_task_end", context, metadata=dict(metrics)))

    def end(self, completed: bool) -> None:
        """The fit is over, ``completed`` or broken off; every callback that was set up is torn down."""
        with self._teardowns:
            if completed:
                self._call("on_fit_task_end", self._context, metadata={})

    def _call(self, name: str, context: Context, **details: Any) -> list[Any]:
        return [_tell(callback, name, self._estimator, context, **details) for callback in self._callbacks]


def _tell(callback: object, name: str, *known: object, **details: Any) -> Any:
    """Call a callback's method, if it has it, with those details that it takes."""
    hook = getattr(callback, name, None)
    return None if hook is None else hook(*known, **_taken(hook, details))


def _taken(hook: Callable[..., Any], details: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(hook).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return details
    return {name: value for name, value in details.items() if name in parameters}


class ProgressBar:
    """A bar on standard error with the latest figures; silent where that is no terminal."""

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
            figures = "  ".join(
                f"{name} {metadata[name]:.4g}" for name in ("elbo", "held_out_elbo") if name in metadata
            )
            self._progress.update(self._task, advance=1, figures=figures)

    def teardown(self, estimator: object, context: Context) -> None:
        if not self._progress.disable:  # rich before 14 ends even a disabled bar with a line
            self._progress.stop()
