"""Reference images: guided samples of a config's prior, and true renders of the tiny world."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ..assets_path import TINY_PRIOR
from ..files import save_text
from ..tinyworld.render import true_renders
from .images import ImageRecord, read_records, write_samples

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Sampling:
    """How reference images are sampled.

    Attributes:
        particles: Images a prompt and seed.
        steps: Solver steps.
        scale: Classifier-free guidance w.
        solver: See `distillation.sample`.
    """

    particles: int = 4
    steps: int = 50
    scale: float = 7.5
    solver: str = "ddim"

    def __str__(self) -> str:
        return f"{self.particles} images a prompt and seed, {self.steps} steps, w = {self.scale:g}, {self.solver} solver"


def sample_prompts(
    config: DictConfig, prompts: Sequence[str], seeds: Iterable[int], settings: Sampling, out: Path
) -> list[ImageRecord]:
    """Sample images of all prompts from the prior that a config's guidance loads; those already there are kept.

    Args:
        config: An experiment's configuration, resolved.
        prompts: Prompts.
        seeds: Seeds.
        settings: How to sample; other settings than those of the images in `out` replace them.
        out: Folder of the samples.

    Raises:
        ValueError: If the config's guidance is not one of this package.
    """
    import threestudio
    from rich.progress import track

    from ..guidance.base import LatentGuidance
    from ..guidance.sampling import sample_images

    system = config.system
    model = system.guidance.pretrained_model_name_or_path
    seeds = list(seeds)
    if _is_current(out, {**asdict(settings), "model": str(model)}):
        there = {(record.prompt, record.seed) for record in read_records(out)}
    else:
        there = set()
    todo = [prompt for prompt in prompts if any((prompt, seed) not in there for seed in seeds)]
    if todo:
        guidance = threestudio.find(system.guidance_type)(system.guidance)
        if not isinstance(guidance, LatentGuidance):
            raise ValueError(f"{system.guidance_type}: only guidances of this package can be sampled from")
    for prompt in track(todo, "sampling", disable=not todo):
        processor = threestudio.find(system.prompt_processor_type)(
            {**system.prompt_processor, "prompt": prompt}
        )
        for seed in (seed for seed in seeds if (prompt, seed) not in there):
            arguments = (settings.particles, seed, settings.steps, settings.scale, settings.solver)
            write_samples(out, prompt, seed, sample_images(guidance, processor(), *arguments))
    return [record for record in read_records(out) if record.prompt in prompts and record.seed in seeds]


def _is_current(out: Path, settings: dict[str, object]) -> bool:
    """Whether samples with these very settings are there; notes the settings if not, and forgets other samples."""
    note = out / SETTINGS
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == settings:
        return (out / "samples.json").is_file()
    shutil.rmtree(out, ignore_errors=True)
    save_text(json.dumps(settings), note)
    return False


def render_prompts(
    prompts: Sequence[str], seeds: Iterable[int], particles: int, out: Path
) -> list[ImageRecord]:
    """Render the tiny world's truth of all prompts, from random cameras; what is already there is kept.

    Raises:
        ValueError: If a prompt is not of the tiny world.
    """
    seeds = list(seeds)
    there = {(r.prompt, r.seed) for r in read_records(out)} if (out / "samples.json").is_file() else set()
    for prompt in prompts:
        for seed in seeds:
            if (prompt, seed) not in there:
                write_samples(out, prompt, seed, true_renders(prompt, particles, seed))
    return [record for record in read_records(out) if record.prompt in prompts and record.seed in seeds]


def uses_tiny_prior(config: DictConfig) -> bool:
    """Whether a config's prior is the one that ships with the package, whose truth is known."""
    model = OmegaConf.select(config, "system.guidance.pretrained_model_name_or_path")
    return Path(str(model)).name == TINY_PRIOR
