"""What a run prints: model, prompt, results and citation, and none of its libraries' advice."""

import logging
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from threestudio_msd.papers import THREESTUDIO, Paper

RESULTS = ("it*-test*", "it*-export*", "path.png")
NOISE = (
    "LeafSpec",
    "litlogger",
    "litmodels",
    "available: ",
    "Tensor Cores",
    "LOCAL_RANK",
    "`weights_only`",
    "does not have many workers",
    "callbacks used to create the checkpoint",
    "dirpath has changed",
    "predict returned None",
    "exists and is not empty",
    "smaller than the logging interval",
    "stopped: `max_",
    "[Rr]estor(ing|ed) (all )?states",
    "^Loaded model weights",
    "^Using (view-dependent )?prompt",
    r"^Loading .*\.\.\.$",
    "^(Validation|Test) results",
    "^Export assets",
)
"""Messages of the libraries and the host that the launcher says better, or that users cannot act on."""


def quiet() -> None:
    """Drops noise from warnings and from Lightning's log, and libraries' own chatter."""
    for pattern in NOISE:
        warnings.filterwarnings("ignore", message=f".*{pattern}")
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for logger in ("pytorch_lightning", "lightning_fabric"):
        for handler in logging.getLogger(logger).handlers:
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not re.search("|".join(NOISE), record.getMessage())


def say(line: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(line, flush=True)


def say_model_and_prompt(system: Mapping[str, Any], device: str) -> None:
    """Prints the pretrained model and the prompt that a config names."""
    guidance, prompts = system.get("guidance", {}), system.get("prompt_processor", {})
    key = "pretrained_model_name_or_path"
    model = guidance.get(key) or prompts.get(key)
    if model:
        say(f"model: {os.path.relpath(model) if os.path.isdir(model) else model}, on {device}")
    if prompts.get("prompt"):
        negative = prompts.get("negative_prompt")
        say(f"prompt: {prompts['prompt']}" + (f" (negative: {negative})" if negative else ""))


def papers(settings: Mapping[str, Any], threestudio: ModuleType) -> list[Paper]:
    """Returns what to cite: the guidance's attribute `paper`, if it has one, and threestudio's."""
    guidance = settings.get("system", {}).get("guidance_type")
    own = getattr(threestudio.find(guidance), "paper", None) if guidance else None
    return [paper for paper in (own, THREESTUDIO) if paper is not None]


def results(folder: Path) -> list[str]:
    """Returns the names of a run's results in its folder `save/`; an export's files, others by number."""
    found = sorted({path for pattern in RESULTS for path in folder.glob(pattern)})
    return [name for path in found for name in _names(path)]


def _names(path: Path) -> list[str]:
    if not path.is_dir():
        return [path.name]
    files = sorted(file.name for file in path.iterdir())
    if "-export" in path.name:
        return [f"{path.name}/{name}" for name in files]
    return [f"{path.name}/ ({len(files):,} files)"]


def say_results(settings: Mapping[str, Any], threestudio: ModuleType, trial_dir: str) -> None:
    """Prints where the results are, and what to cite; `--citations` prints the full entries."""
    folder = Path(trial_dir, "save")
    made = results(folder)
    if made:
        say(f"Results: {folder}/\n" + "\n".join(f"  {name}" for name in made))
    say(f"To cite (BibTeX: --citations): {'; '.join(map(str, papers(settings, threestudio)))}")
