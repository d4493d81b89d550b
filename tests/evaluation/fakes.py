"""A launcher that writes what a run leaves behind, in no time, and features that need no weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

SIZE = 8


def launch(argv: list[str]) -> int:
    """Stands for the launcher: an image per particle that depends on label, prompt and seed alone."""
    from threestudio_msd.image.frames import tile

    config = OmegaConf.from_cli([word for word in argv if "=" in word])
    steps, particles, calls = config.trainer.max_steps, config.data.n_particles, int(config.get("calls", 2))
    if config.get("fail"):
        print("something went wrong")
        return 1
    folder = Path(config.exp_root_dir, config.name, config.tag)
    (folder / "configs").mkdir(parents=True)
    config.data.height = SIZE
    OmegaConf.save(config, folder / "configs" / "parsed.yaml")
    frames = [*range(0, steps, config.system.progress_every), steps]
    (folder / "save/progress").mkdir(parents=True)
    (folder / f"save/it{steps}-test").mkdir()
    for step in frames:
        Image.fromarray(_tile(tile, config, step, steps, particles)).save(
            folder / f"save/progress/{step}.png"
        )
    (folder / "save/progress/frames.json").write_text(
        json.dumps([{"step": step, "bandwidth": None} for step in frames])
    )
    for i, image in enumerate(_images(config, steps, steps, particles)):
        Image.fromarray((image.numpy() * 255).round().astype(np.uint8)).save(
            folder / f"save/it{steps}-test/{i}.png"
        )
    (folder / "csv_logs/version_0").mkdir(parents=True)
    with open(folder / "csv_logs/version_0/metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/nfe"])
        writer.writeheader()
        writer.writerows({"step": step, "train/nfe": calls * (step + 1)} for step in range(steps))
    return 0


def _images(config, step: int, steps: int, particles: int) -> torch.Tensor:
    """Noise at first, and at the end a flat colour that is nearer to mid-grey for the label GOOD."""
    generator = torch.Generator().manual_seed(
        int(config.seed) * 100 + len(str(config.system.prompt_processor.prompt))
    )
    noise = torch.rand(particles, SIZE, SIZE, 3, generator=generator)
    end = 0.5 if config.name.startswith("GOOD/") else 0.9
    return torch.lerp(noise, torch.full_like(noise, end), 0.9 * step / steps)


def _tile(tile, config, step: int, steps: int, particles: int) -> np.ndarray:
    images = _images(config, step, steps, particles).repeat_interleave(2, 1).repeat_interleave(2, 2)
    return (tile(images).numpy() * 255).round().astype(np.uint8)


class MeanColour:
    """Features: each image's mean colour. Alignment: how bright it is."""

    description = "mean colour"

    def __call__(self, images):
        return images.mean((1, 2)).numpy().astype(np.float64)

    def alignment(self, images, prompts):
        assert len(prompts) == len(images)
        return {"alignment": images.mean((1, 2, 3)).numpy()}
