"""Reference images: guided samples of a config's prior, and true renders of the tiny
world.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path

from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from ..tinyworld.render import true_renders
from .images import SAMPLES, ImageRecord, read_pixels, read_records, read_samples, write_samples

SETTINGS = "settings.json"
MOST, MOST_SCALE = 10_000, 1000  # images and steps; guidance
Pair = tuple[str, int]  # a prompt and a seed


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
        for name in ("particles", "steps"):
            if not 1 <= getattr(self, name) <= MOST:
                raise UserError(f"--{name}: expected a number from 1 to {MOST}, got {getattr(self, name)}")
        if not abs(self.scale) <= MOST_SCALE:
            raise UserError(f"--scale: expected a number within ±{MOST_SCALE}, got {self.scale}")

    def __str__(self) -> str:
        images = f"{self.particles} images a prompt and seed"
        return f"{images}, {self.steps} steps, w = {self.scale:g}, {self.solver} solver"


def sample_prompts(
    config: DictConfig, prompts: Sequence[str], seeds: Iterable[int], settings: Sampling, out: Path
) -> list[ImageRecord]:
    """Sample images of all prompts from the prior that a config's guidance loads; those
    there are kept.

    Args:
        config: An experiment's configuration, resolved.
        prompts: Prompts.
        seeds: Seeds.
        settings: How to sample; other settings than those of the images in `out`
            replace them.
        out: Folder of the samples.

    Raises:
        UserError: The config's guidance is not one of this package, or the folder holds
            something else.
    """
    system, seeds = config.system, list(seeds)
    _forget_others(out, {**asdict(settings), "model": str(system.guidance.pretrained_model_name_or_path)})
    missing = _missing(out, prompts, seeds, settings.particles)
    if missing:
        _sample(system, missing, settings, out)
    return _selected(out, prompts, seeds)


def _sample(system: DictConfig, missing: Sequence[Pair], settings: Sampling, out: Path) -> None:
    import threestudio
    from rich.progress import track
    from threestudio_msd.guidance.base import LatentGuidance
    from threestudio_msd.guidance.sampling import sample_images

    guidance = threestudio.find(system.guidance_type)(system.guidance)
    if not isinstance(guidance, LatentGuidance):
        raise UserError(
            f"system.guidance_type: {system.guidance_type}: only guidances of this package "
            "can be sampled from"
        )

    @cache
    def embeddings(prompt: str) -> object:
        kind = threestudio.find(system.prompt_processor_type)
        return kind({**system.prompt_processor, "prompt": prompt})()

    for prompt, seed in track(missing, "sampling"):
        arguments = (settings.particles, seed, settings.steps, settings.scale, settings.solver)
        write_samples(out, prompt, seed, sample_images(guidance, embeddings(prompt), *arguments))


def render_prompts(
    prompts: Sequence[str], seeds: Iterable[int], particles: int, out: Path
) -> list[ImageRecord]:
    """Render the tiny world's truth of all prompts, from random cameras; what is
    already there is kept.

    Raises:
        ValueError: A prompt is not of the tiny world.
    """
    seeds = list(seeds)
    for prompt, seed in _missing(out, prompts, seeds, particles):
        write_samples(out, prompt, seed, true_renders(prompt, particles, seed))
    return _selected(out, prompts, seeds)


def _missing(out: Path, prompts: Sequence[str], seeds: Sequence[int], particles: int) -> list[Pair]:
    """The prompts and seeds of which there are not so many whole images."""
    counts = Counter((record.prompt, record.seed) for record in read_samples(out) if _is_whole(record.path))
    return [pair for pair in product(prompts, seeds) if counts[pair] != particles]


def _is_whole(path: Path) -> bool:
    with suppress(UserError):
        return bool(read_pixels(path).size)
    return False


def _selected(out: Path, prompts: Sequence[str], seeds: Sequence[int]) -> list[ImageRecord]:
    return [record for record in read_records(out) if record.prompt in prompts and record.seed in seeds]


def _forget_others(out: Path, settings: dict[str, object]) -> None:
    """Remove samples that were made with other settings, and note these.

    Raises:
        UserError: The folder holds something else.
    """
    note, text = out / SETTINGS, json.dumps(settings)
    if note.is_file() and note.read_text(encoding="utf-8") == text:
        return
    if (out / SAMPLES).is_file():
        for record in read_samples(out):
            record.path.unlink(missing_ok=True)
        (out / SAMPLES).unlink()
    elif out.is_file() or any(
        entry.name != SETTINGS and not entry.name.startswith(".") for entry in out.glob("*")
    ):
        raise UserError(f"{out}: holds other things than samples; name a new folder")
    save_text(text, note)
