"""A launcher that writes what a run leaves behind, in no time, and features that need no weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from msd_lab.compare.execution import RunError
from msd_lab.compare.execution import launch as make
from msd_lab.compare.methods import Method
from msd_lab.measure.images import NFE, eight_bits, read_records, write_samples
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from threestudio_msd.errors import UserError

SIZE = 8
LAUNCHER, RESULTS_ONLY = "lab.fakes:launch", "lab.fakes:launch_results"
GOOD, BAD = Method("GOOD", "good.yaml", ("nfe=4",)), Method("BAD", "bad.yaml")
BROKEN = Method("BROKEN", "broken.yaml", ("fail=true",))
CONFIG = OmegaConf.create({"system": {"guidance": {"pretrained_model_name_or_path": "some-model"}}})


def launch(argv: list[str]) -> int:
    """Stands for the launcher: an image per particle, of label, prompt and seed alone, and its path."""
    from threestudio_msd.image.frames import tile

    status = launch_results(argv)
    if status == 0:
        config = _config(argv)
        steps = _steps(config)
        frames = [*range(0, steps, config.system.progress_every), steps]
        folder = Path(config.exp_root_dir, config.name, config.tag, "save/progress")
        folder.mkdir(parents=True)
        for step in frames:
            images = _images(config, step).repeat_interleave(2, 1).repeat_interleave(2, 2)
            Image.fromarray(eight_bits(tile(images))).save(folder / f"{step}.png")
        listed = [{"step": step, "bandwidth": None} for step in frames]
        (folder / "frames.json").write_text(json.dumps(listed))
    return status


def launch_results(argv: list[str]) -> int:
    """The same without a path, which takes other processes no time to import."""
    config = _config(argv)
    steps, nfe = _steps(config), int(config.get("nfe", 2))
    for _ in range(steps + 1):
        torch.ones(SIZE, SIZE) @ torch.ones(SIZE, SIZE)
    if config.get("fail"):
        print("something went wrong")
        return 1
    folder = Path(config.exp_root_dir, config.name, config.tag)
    (folder / "configs").mkdir(parents=True)
    OmegaConf.save(config, folder / "configs/parsed.yaml")
    (folder / f"save/it{steps}-test").mkdir(parents=True)
    for i, image in enumerate(_images(config, steps)[int(config.get("few", False)) :]):
        Image.fromarray(eight_bits(image)).save(folder / f"save/it{steps}-test/{i}.png")
    (folder / "csv_logs/version_0").mkdir(parents=True)
    with open(folder / "csv_logs/version_0/metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["step", NFE])
        writer.writeheader()
        writer.writerows({"step": step, NFE: nfe * (step + 1)} for step in range(steps))
    return 0


def _config(argv: list[str]) -> DictConfig:
    config = OmegaConf.from_cli([word for word in argv if "=" in word])
    config.data.height = SIZE
    return config


def _steps(config: DictConfig) -> int:
    """What a run takes of the steps that it is given."""
    return min(config.trainer.max_steps, int(config.get("ends", config.trainer.max_steps)))


def _images(config: DictConfig, step: int) -> torch.Tensor:
    """Noise at first, and at the end a flat colour that is nearer to mid-grey for the label GOOD."""
    prompt = str(config.system.prompt_processor.prompt)
    generator = torch.Generator().manual_seed(int(config.seed) * 100 + len(prompt))
    noise = torch.rand(config.data.n_particles, SIZE, SIZE, 3, generator=generator)
    end = 0.5 if config.name.startswith("GOOD/") else 0.9
    return torch.lerp(noise, torch.full_like(noise, end), 0.9 * step / config.trainer.max_steps)


class MeanColour:
    """Features: each image's mean colour. Alignment: how bright it is."""

    description = "mean colour"

    def __call__(self, images):
        return images.mean((1, 2)).numpy().astype(np.float64)

    def alignment(self, images, prompts):
        assert len(prompts) == len(images)
        return {"alignment": images.mean((1, 2, 3)).numpy()}

    def check_prompts(self, prompts):
        if "unreadable" in prompts:
            raise UserError("unreadable is no prompt of mine")


def one_by_one(runs, ran=None, launcher=LAUNCHER):
    """Makes runs in this process."""
    for run in runs:
        if ran is not None:
            ran.append(run)
        try:
            make(run, launcher)
            yield run, None
        except RunError as error:
            yield run, str(error)


def grey_samples(config, prompts, seeds, settings, out):
    """DDIM images: grey, with a little noise, so that covariances are not degenerate."""
    for prompt in prompts:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed + len(prompt))
            noise = torch.randn(settings.particles, 8, 8, 3, generator=generator)
            write_samples(out, prompt, seed, 0.5 + 0.1 * noise)
    return read_records(out)
