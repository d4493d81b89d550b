"""What registration reaches: the extension alone, and no more of it than is registered.

Reads the import statements, those inside functions too, from `threestudio_msd/__init__.py` on.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import threestudio

CUSTOM = Path(__file__).parents[1] / "custom"
NOT_REACHED = {"msd_lab", "launcher", "matplotlib", "scipy"}
MOST_STATEMENTS = 4272
REGISTERED = """
    msd-camera-datamodule msd-csd-guidance msd-fourier-encoding msd-guidance msd-hashgrid-encoding
    mesh-exporter
    msd-image-datamodule msd-image-mlp msd-image-system msd-ism-guidance msd-mesh-exporter msd-multiscale-grid
    msd-pipeline-prompt-processor msd-scene msd-sdi-guidance msd-sds-guidance msd-vsd-guidance
"""


def file_of(module: str) -> Path | None:
    """The file of one of the extension's modules."""
    path = CUSTOM.joinpath(*module.split("."))
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """Full names of all modules, or of their attributes, that a module's statements import."""
    file, names = file_of(module), set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *filter(None, [node.module])])
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


def closure() -> tuple[set[str], set[str]]:
    """The extension's modules that registration reaches, and all top-level packages that these import."""
    reached, packages, waiting = set(), set(), {"threestudio_msd"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        names = imported(module)
        packages |= {name.partition(".")[0] for name in names}
        with_parents = {name.rsplit(".", i)[0] for name in names for i in range(name.count(".") + 1)}
        waiting |= {
            name for name in with_parents if name.startswith("threestudio_msd") and file_of(name)
        } - reached
    return reached, packages


def test_registration_reaches_no_laboratory_launcher_or_plotting():
    assert not closure()[1] & NOT_REACHED


def test_registration_reads_families_of_priors_only_when_a_pipeline_asks():
    assert not [module for module in closure()[0] if "priors.families." in module]


def test_registration_reaches_few_statements():
    trees = {module: parsed(file_of(module)) for module in closure()[0]}
    counts = {m: sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) for m, tree in trees.items()}
    assert sum(counts.values()) <= MOST_STATEMENTS, sorted(counts.items(), key=lambda item: -item[1])


def test_the_registered_names_stay():
    ours = {n for n, cls in threestudio.__modules__.items() if cls.__module__.startswith("threestudio_msd.")}
    assert ours == set(REGISTERED.split())
