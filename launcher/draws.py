"""`--draws`: what a guidance sees along its bandwidth, as one sheet, without training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError
from threestudio_msd.distillation import rms
from threestudio_msd.errors import UserError
from threestudio_msd.files import write_whole
from threestudio_msd.guidance.msd import MSDGuidance
from threestudio_msd.guidance.view import View
from threestudio_msd.image.text import typeface_for
from torch import Tensor

from launcher.config import as_config
from launcher.messages import quiet, say, say_model_and_prompt

BANDWIDTHS, DRAWS = 5, 4
NOISE = 0.25
"""Deviation of the noise start around grey, of values in [0, 1]."""
SIDE, GAP, LEFT, TOP = 128, 6, 170, 40
COLUMNS = ("start", "mean", *(f"draw {i}" for i in range(1, DRAWS + 1)))


@dataclass(frozen=True)
class Row:
    """One bandwidth's row of the sheet.

    Attributes:
        lam: Lambda.
        first_pull: The state's weight at the kernel's first pull; None where a sampler has none.
        deviation: Of the draws around their mean, root mean square in latent units.
        shift: Of their mean from the start, likewise.
        nfe: Evaluations a draw, every guidance branch counted.
        images: The mean and the draws, `[1 + DRAWS, H, W, 3]`.
    """

    lam: float
    first_pull: float | None
    deviation: float
    shift: float
    nfe: float
    images: Tensor

    @property
    def figures(self) -> tuple[str, ...]:
        pull = "none" if self.first_pull is None else f"{self.first_pull:.3f}"
        return (
            f"λ = {self.lam:.3g}",
            f"first pull {pull}",
            f"deviation {self.deviation:.3f}",
            f"shift {self.shift:.3f}",
            f"{self.nfe:g} NFE",
        )


def draw_sheet(settings: dict[str, Any], start: str | None) -> int:
    """Write `save/draws.png` of a config whose guidance is msd-guidance; returns 0.

    Args:
        settings: The whole config, checked.
        start: A picture to begin at; None is noise.

    Raises:
        UserError: The guidance is another, or the picture cannot be read.
    """
    import threestudio
    from threestudio.utils.config import ExperimentConfig, parse_structured

    kind = threestudio.find(settings["system"]["guidance_type"])
    if not issubclass(kind, MSDGuidance):
        raise UserError(
            f"--draws: expected system.guidance_type msd-guidance, got {settings['system']['guidance_type']}"
        )
    picture = None if start is None else _read(start)
    quiet()
    cfg = parse_structured(ExperimentConfig, as_config(settings))
    say_model_and_prompt(settings["system"], "the GPU" if torch.cuda.is_available() else "the CPU")
    prompt = threestudio.find(cfg.system.prompt_processor_type)(cfg.system.prompt_processor)()
    guidance = kind(cfg.system.guidance)
    rgb = _render(picture, guidance.model.resolution, cfg.seed).to(guidance.device)
    rows = [measure(guidance, prompt, rgb, lam) for lam in bandwidths(guidance)]
    path = Path(cfg.trial_dir, "save", "draws.png")
    sheet = paint(rgb, rows)
    write_whole(path, sheet.save)
    for row in rows:
        say(", ".join(row.figures))
    say(str(path))
    return 0


def bandwidths(guidance: MSDGuidance) -> list[float]:
    """Bandwidths from the schedule's start to its end, by equal factors."""
    schedule = guidance.estimator.bandwidth
    ends = torch.tensor([float(schedule(0.0, {})), schedule.last]).log10()
    return torch.logspace(*ends.tolist(), BANDWIDTHS).tolist()


@torch.no_grad()
def measure(guidance: MSDGuidance, prompt: Any, rgb: Tensor, lam: float) -> Row:
    """Draw around a render `[1, H, W, 3]` at one bandwidth."""
    sampler, before = guidance.estimator.sampler, guidance.evaluations
    y = guidance.encode(rgb).expand(DRAWS, -1, -1, -1)
    view = View.front(prompt, y, index=torch.arange(DRAWS))
    x = sampler(y, torch.tensor(lam, device=y.device), guidance.prior(view), guidance.noise(view, 0)).x
    mean = x.mean(0, keepdim=True)
    spread = (x - mean).square().sum() / (DRAWS - 1) / mean.numel()
    return Row(
        lam,
        sampler.first_pull(guidance.model.denoiser.schedule, lam) if hasattr(sampler, "first_pull") else None,
        float(spread.sqrt()),
        float(rms(mean - y[:1])),
        (guidance.evaluations - before) / DRAWS,
        guidance.model.decode(torch.cat([mean, x])).clamp(0, 1).permute(0, 2, 3, 1),
    )


def paint(rgb: Tensor, rows: list[Row]) -> Image.Image:
    """Draw the sheet: a row a bandwidth, and in it start, mean and draws."""
    pitch = SIDE + GAP
    sheet = Image.new("RGB", (LEFT + len(COLUMNS) * pitch, TOP + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(COLUMNS):
        typeface_for(name, 15).draw(draw, (LEFT + column * pitch, TOP / 2), name, "black")
    for i, row in enumerate(rows):
        for line, text in enumerate(row.figures):
            place = (10.0, TOP + i * pitch + 16 + 22 * line)
            typeface_for(text, 15, "regular" if line else "bold").draw(draw, place, text, "black")
        for column, image in enumerate(torch.cat([rgb, row.images])):
            pixels = (image * 255).round().byte().cpu().numpy()
            tile = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (LEFT + column * pitch, TOP + i * pitch))
    return sheet


def _read(path: str) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"--start: {path} cannot be read as a picture: {error}") from error


def _render(picture: Image.Image | None, side: int, seed: int) -> Tensor:
    """A square render `[1, side, side, 3]`: a picture's middle, or noise around grey."""
    if picture is None:
        generator = torch.Generator().manual_seed(seed)
        return (0.5 + NOISE * torch.randn(1, side, side, 3, generator=generator)).clamp(0, 1)
    return torch.from_numpy(np.array(ImageOps.fit(picture, (side, side))))[None] / 255
