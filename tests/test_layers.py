"""The layers of the code: a module imports only from the layers below its own, or from its own package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vae_anomaly

ROOT = Path(__file__).parents[1]
LAYERS = [  # from the ground up; packages of one layer do not import one another
    {"errors"},
    {"formatting", "lazy", "parallel"},
    {"data", "model"},
    {"io"},
    {"training", "scoring"},
    {"config"},
    {"fitted"},
    {"fit"},
    {"update"},
    {"explain", "monitor", "diagnose"},
    {"detector"},
    {"plots", "images"},
    {"report", "comparison"},
    {"integrations"},
    {"vae_anomaly_cli"},
]
OFFERED = {  # modules that the command line may use, besides the public names of the package itself
    "vae_anomaly.comparison",
    "vae_anomaly.data.duplicates",
    "vae_anomaly.errors",
    "vae_anomaly.formatting",
    "vae_anomaly.images",
    "vae_anomaly.integrations.mlflow",
    "vae_anomaly.integrations.onnx",
    "vae_anomaly.integrations.ray",
    "vae_anomaly.integrations.shipping",
    "vae_anomaly.io.atomic",
    "vae_anomaly.io.dataset",
    "vae_anomaly.io.model_file",
    "vae_anomaly.io.pieces",
    "vae_anomaly.io.read",
    "vae_anomaly.io.resumable",
    "vae_anomaly.io.source",
    "vae_anomaly.io.write",
    "vae_anomaly.monitor.drift",  # the type of a result
    "vae_anomaly.parallel",
    "vae_anomaly.plots",
    "vae_anomaly.report",
    "vae_anomaly.scoring.decide",
    "vae_anomaly.training.callbacks",  # the type of an argument
}
UPWARD = {("detector", "vae_anomaly.plots.DetectorPlots")}  # `VAEDetector.plot`, imported at its first use
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
OURS = {"vae_anomaly", "vae_anomaly_cli", "benchmarks", "tests"}
MODULES = [p for p in sorted((ROOT / "vae_anomaly").rglob("*.py")) if p != ROOT / "vae_anomaly" / "__init__.py"]
MODULES += sorted((ROOT / "cli").rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, including those inside functions and names imported from packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def package_of(dotted: str) -> str:
    """The package or module that a dotted name leads into: ``vae_anomaly.data.schema`` -> ``data``."""
    top, _, rest = dotted.partition(".")
    return rest.partition(".")[0] if top == "vae_anomaly" else top


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_the_layers_below(path):
    root = ROOT / "cli" if path.is_relative_to(ROOT / "cli") else ROOT
    package = package_of(".".join(path.relative_to(root).with_suffix("").parts))
    names = [name for name in imported(ast.parse(path.read_text())) if name.partition(".")[0] in {*OURS, ""}]
    if package == "vae_anomaly_cli":
        names = [name for name in names if name.partition(".")[0] != "vae_anomaly"]  # the next test's business
    names = [name for name in names if (package, name) not in UPWARD]
    assert [n for n in names if package_of(n) != package and not LEVEL.get(package_of(n), 99) < LEVEL[package]] == []


def test_the_command_line_imports_only_what_the_package_offers_it():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "cli").rglob("*.py")]
    names = {name for tree in trees for name in imported(tree) if name.partition(".")[0] == "vae_anomaly"}
    names -= {f"vae_anomaly.{name}" for name in vae_anomaly.__all__}
    modules = {name if name in OFFERED else name.rpartition(".")[0] for name in names}
    assert modules == OFFERED  # so that the list stays short


def test_every_package_has_a_layer():
    packages = {path.stem for path in (ROOT / "vae_anomaly").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert packages - {"__init__", "__pycache__"} <= set(LEVEL)
