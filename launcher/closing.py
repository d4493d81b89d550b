"""What a run says when it is done: where its results are, and what to cite."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from threestudio_msd.papers import THREESTUDIO, Paper

RESULTS = ("it*-test*", "it*-export*", "path.png")


def papers(settings: Mapping[str, Any], threestudio: ModuleType) -> list[Paper]:
    """What a config's method comes from, and threestudio; a guidance says it by an attribute `paper`."""
    guidance = settings.get("system", {}).get("guidance_type")
    own = getattr(threestudio.find(guidance), "paper", None) if guidance else None
    return [paper for paper in (own, THREESTUDIO) if paper is not None]


def results(folder: Path) -> list[str]:
    """The names of a run's results in its folder `save/`; of folders with the number of their files."""
    found = sorted({path for pattern in RESULTS for path in folder.glob(pattern)})
    return [
        f"{path.name}/ ({len(list(path.iterdir()))} files)" if path.is_dir() else path.name for path in found
    ]


def say(settings: Mapping[str, Any], threestudio: ModuleType, trial_dir: str) -> None:
    """Print both; the full entries are what `--citations` prints."""
    folder = Path(trial_dir, "save")
    made = results(folder)
    if made:
        print(f"\nResults: {folder}/\n" + "\n".join(f"  {name}" for name in made))
    print(f"To cite (BibTeX: --citations): {'; '.join(map(str, papers(settings, threestudio)))}")
