"""Groups of options that several commands have: one parameter of a command, declared and documented once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from vae_anomaly_cli import options

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector


@dataclass(frozen=True)
class Reading:
    """How FILE is read."""

    encoding: options.Encoding = "utf-8"
    missing: options.Missing = None
    table: options.TableName = None
    query: options.Query = None
    decimal: options.Decimal = None
    thousands: options.Thousands = None
    day_first: options.DayFirst = None

    @property
    def options(self) -> dict[str, Any]:
        """Parameters of the library's readers."""
        return {**asdict(self), "missing": self.missing or []}


@dataclass(frozen=True)
class Fitting:
    """Settings of a detector that a command fits."""

    kind: options.Kind = None
    novelty: options.Novelty = False
    contamination: options.Contamination = "auto"
    calibration: options.CalibrationName = options.Calibration.leave_one_out
    bound: options.BoundName = options.Bound.elbo
    seed: options.Seed = 0

    def detector(self, device: str) -> VAEDetector:
        """Unfitted detector."""
        from vae_anomaly import VAEDetector

        return VAEDetector(
            kinds=options.kinds_of(self.kind),
            novelty=self.novelty,
            contamination=options.fraction_or_auto(self.contamination),
            calibration=self.calibration.value,
            bound=self.bound.value,
            device=device,
            random_state=self.seed,
        )


@dataclass(frozen=True)
class Flagging:
    """Rule by which rows are flagged."""

    fdr: options.Fdr = None
    alerts: options.Alerts = None
    false_alarm_rate: options.FalseAlarmRate = None

    @property
    def rule(self) -> dict[str, Any]:
        """Parameters of `VAEDetector.detect`."""
        return asdict(self)


@dataclass(frozen=True)
class Tracking:
    """Whether and where a run is tracked in MLflow."""

    track: options.Track = False
    experiment: options.Experiment = None
    run_name: options.RunName = None
    track_required: options.TrackRequired = False

    @property
    def is_wanted(self) -> bool:
        """True if any option asks for it."""
        return self != Tracking()


@dataclass(frozen=True)
class Cluster:
    """The machines that read and score the files of FILE."""

    engine: options.EngineName = None
    address: options.Address = None

    @property
    def is_wanted(self) -> bool:
        """True if an engine is named."""
        return self.engine is not None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each parameter whose type is a group, in place of that parameter."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in own if is_dataclass(one.annotation)}

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    parameters = [one for parameter in own for one in _options_of(parameter)]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _options_of(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """The parameter itself, or those of its group."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=keyword)
        return
    types = get_type_hints(parameter.annotation, include_extras=True)
    for field in fields(parameter.annotation):
        yield inspect.Parameter(field.name, keyword, annotation=types[field.name], default=field.default)


def option_names(group: type) -> dict[str, str]:
    """Names of a group's options by parameter, such as ``day_first``: ``--dayfirst or --monthfirst``."""
    types = get_type_hints(group, include_extras=True)
    found = {field.name: types[field.name].__metadata__[0] for field in fields(group)}
    return {name: " or ".join(_long_names(option)) for name, option in found.items()}


def _long_names(option: Any) -> list[str]:
    texts = (option.default, *option.param_decls)  # where there is an annotation, the first name is in `default`
    return [name for text in texts for name in text.split("/") if name.startswith("--")]
