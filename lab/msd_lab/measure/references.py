"""Reference images: guided samples of a config's prior, and true renders of the tiny world."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from ..compare.grid import LOCK
from ..tinyworld.render import true_renders
from .images import SAMPLES, ImageRecord, read_pixels, read_records, read_samples, write_samples

SETTINGS = "settings.json"
MOST_IMAGES, MOST_STEPS, MOST_SCALE = 10_000, 10_000, 1000


@dataclass(frozen=True)
class Sampling:
    """How reference images are sampled.

    Attributes:
        particles: Images a prompt and seed.
        steps: Solver steps.
        scale: Classifier-free guidance w.
        solver: See `distillation.sample`.

    Raises:
        UserError: A number is too small, or the scale is not finite.
    """

    particles: int = 4
    steps: int = 50
    scale: float = 7.5
    solver: str = "ddim"

    def __post_init__(self) -> None:
        for name, most in (("particles", MOST_IMAGES), ("steps", MOST_STEPS)):
            if not 1 <= getattr(self, name) <= most:
                raise UserError(f"--{name}: expected a number from 1 to {most}, got {getattr(self, name)}")
        if not abs(self.scale) <= MOST_SCALE:
            raise UserError(f"--scale: expected a number within ±{MOST_SCALE}, got {self.scale}")

    def __str__(self) -> str:
        images = f"{self.particles} images a prompt and seed"
        return f"{images}, {self.steps} steps, w = {self.scale:g}, {self.solver} solver"


def sample_prompts(
    config: DictConfig, prompts: Sequence[str], seeds: Iterable[int], settings: Sampling, out: Path
) -> list[ImageRecord]:
    """Sample images of all prompts from the prior that a config's guidance loads; those there are kept.

    Args:
        config: An experiment's configuration, resolved.
        prompts: Prompts.
        seeds: Seeds.
        settings: How to sample; other settings than those of the images in `out` replace them.
        out: Folder of the samples.

    Raises:
        UserError: The config's guidance is not one of this package, or the folder holds something else.
    """
    import threestudio
    from rich.progress import track
    from threestudio_msd.guidance.base import LatentGuidance
    from threestudio_msd.guidance.sampling import sample_images

    system = config.system
    model = system.guidance.pretrained_model_name_or_path
    seeds = list(seeds)
    _forget_others(out, {**asdict(settings), "model": str(model)})
    there = _there(out, settings.particles)
    todo = [prompt for prompt in prompts if any((prompt, seed) not in there for seed in seeds)]
    if todo:
        guidance = threestudio.find(system.guidance_type)(system.guidance)
        if not isinstance(guidance, LatentGuidance):
            raise UserError(
                f"system.guidance_type: {system.guidance_type}: only guidances of this package "
                "can be sampled from"
            )
    for prompt in track(todo, "sampling", disable=not todo):
        processor = threestudio.find(system.prompt_processor_type)(
            {**system.prompt_processor, "prompt": prompt}
        )
        for seed in (seed for seed in seeds if (prompt, seed) not in there):
            arguments = (settings.particles, seed, settings.steps, settings.scale, settings.solver)
            write_samples(out, prompt, seed, sample_images(guidance, processor(), *arguments))
    return [record for record in read_records(out) if record.prompt in prompts and record.seed in seeds]


def render_prompts(
    prompts: Sequence[str], seeds: Iterable[int], particles: int, out: Path
) -> list[ImageRecord]:
    """Render the tiny world's truth of all prompts, from random cameras; what is already there is kept.

    Raises:
        ValueError: If a prompt is not of the tiny world.
    """
    seeds, there = list(seeds), _there(out, particles)
    for prompt in prompts:
        for seed in seeds:
            if (prompt, seed) not in there:
                write_samples(out, prompt, seed, true_renders(prompt, particles, seed))
    return [record for record in read_records(out) if record.prompt in prompts and record.seed in seeds]


def _forget_others(out: Path, settings: dict[str, object]) -> None:
    """Remove samples that were made with other settings, and note these.

    Raises:
        UserError: The folder holds something else.
    """
    note, listed = out / SETTINGS, out / SAMPLES
    if note.is_file() and note.read_text(encoding="utf-8") == json.dumps(settings):
        return
    if listed.is_file():
        for record in read_samples(out):
            record.path.unlink(missing_ok=True)
        listed.unlink()
    elif out.exists() and not (out.is_dir() and {entry.name for entry in out.iterdir()} <= {SETTINGS, LOCK}):
        raise UserError(f"{out}: holds other things than samples; name a new folder")
    save_text(json.dumps(settings), note)


def _there(out: Path, particles: int) -> set[tuple[str, int]]:
    """The prompts and seeds of which so many images are there, whole."""
    counts = Counter((record.prompt, record.seed) for record in read_samples(out) if _is_whole(record.path))
    return {pair for pair, count in counts.items() if count == particles}


def _is_whole(path: Path) -> bool:
    try:
        read_pixels(path)
    except UserError:
        return False
    return True
