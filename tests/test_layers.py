"""The floors of the house: a module imports only from the floors below its own, or from its own package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [  # from the ground up; rooms of one floor do not know each other
    {"errors", "threads"},
    {"files"},
    {"partial"},
    {"tables", "images", "model", "persistence"},
    {"training", "inference"},
    {"fitted", "parameters"},
    {"fitting", "diagnosing"},
    {"calibrating", "updating"},
    {"detector"},
    {"reports", "comparison"},
    {"integrations"},
    {"vae_anomaly_cli"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
HOUSES = {"vae_anomaly", "vae_anomaly_cli", "benchmarks", "tests"}
MODULES = [p for p in sorted((ROOT / "vae_anomaly").rglob("*.py")) if p != ROOT / "vae_anomaly" / "__init__.py"]
MODULES += sorted((ROOT / "cli").rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, those inside functions and of names from packages included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(dotted: str) -> str:
    """The room that a dotted name leads into: ``vae_anomaly.data.schema`` -> ``tables``."""
    house, _, rest = dotted.partition(".")
    return rest.partition(".")[0] if house == "vae_anomaly" else house


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_the_floors_below(path):
    room = room_of(".".join(path.relative_to(ROOT / "cli" if "cli" in path.parts else ROOT).with_suffix("").parts))
    names = [name for name in imported(ast.parse(path.read_text())) if name.partition(".")[0] in {*HOUSES, ""}]
    if room == "vae_anomaly_cli":  # the command line uses what users use: the names of the package itself
        names = [name for name in names if name.partition(".")[0] != "vae_anomaly"]
    assert [n for n in names if room_of(n) != room and not FLOOR.get(room_of(n), 99) < FLOOR[room]] == []


def test_every_room_has_a_floor():
    rooms = {path.stem for path in (ROOT / "vae_anomaly").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__init__", "__pycache__"} <= set(FLOOR)
