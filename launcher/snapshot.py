"""Keeps a run's code: this checkout's sources, the extensions in `custom/` and the experiment's YAML."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from launcher.host import ROOT

PARTS = ("launch.py", "launcher", "portable", "lab", "custom")
SOURCES = {".py", ".yaml", ".yml", ".toml", ".c", ".cpp", ".cu", ".cuh", ".h", ".glsl", ".frag", ".vert"}
FOREIGN = {"cmd.txt", "pyvenv.cfg"}  # these files mark a run's folder and a virtual environment
LARGEST = 1_000_000  # bytes


class CodeSnapshot(Callback):
    """Copies the sources when training starts.

    Only files with the suffix of a source are copied, so neither outputs nor secrets such as `.env` are.

    Args:
        config: The experiment's YAML file.
        folder: Where the copies go.
        outputs: The folder of all runs, which is left out wherever it lies.
    """

    def __init__(self, config: str, folder: Path, outputs: str) -> None:
        self._config, self._folder, self._outputs = Path(config), folder, Path(outputs).resolve()

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        config = self._config.resolve()
        inside = config.relative_to(ROOT) if config.is_relative_to(ROOT) else config.name
        copies = {self._folder / inside: config}
        copies |= {self._folder / path.relative_to(ROOT): path for path in sources(ROOT, self._outputs)}
        for target, path in copies.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def sources(root: Path, outputs: Path) -> Iterator[Path]:
    """Yields the source files of a checkout, without hidden folders, environments, runs and `outputs`.

    An extension may be a link in `custom/`; no other link is followed.
    """
    if (root / PARTS[0]).is_file():
        yield root / PARTS[0]
    linked = (entry for entry in (root / "custom").glob("[!._]*") if entry.is_symlink() and entry.is_dir())
    for part in (*(root / part for part in PARTS[1:]), *sorted(linked)):
        for folder, below, names in os.walk(part):
            if FOREIGN & {*names} or Path(folder).resolve() == outputs:
                below.clear()
                continue
            below[:] = [name for name in below if not name.startswith((".", "__"))]
            paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            yield from (path for path in paths if _is_source(path))


def _is_source(path: Path) -> bool:
    return path.suffix in SOURCES and path.is_file() and path.stat().st_size <= LARGEST
