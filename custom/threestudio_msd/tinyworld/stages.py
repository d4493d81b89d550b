"""The training of everything in `assets/`, from nothing, in stages that can be stopped and resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diffusers import AutoencoderKL

from ..files import save_text
from .autoencoder import train_autoencoder
from .data import VERSION, DataConfig, Images, cached_images, render_images
from .figures import ddim_accuracy, latent_statistics, save_sheet
from .judge import load_judge, measure_judge, save_judge, train_judge
from .prior import PriorConfig, load_prior, train_prior
from .training import TrainConfig
from .world import held_out_pairs, seen_pairs

FRESH_SEED = 1_000_003
"""Seed of the renders that measure: far from those that train."""
VERSIONS = {"judge": 2, "vae": 2, "unet": 2}
"""Of what each stage trains: raised when its program changes so that an old state must not go on."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    `autoencoder_channels` are the autoencoder's widths, `scales` the guidance scales that are measured,
    `sheet_scale` the one that the sample sheet is drawn with, `per_pair` how many samples of each (object,
    colour), `sampling_steps` their DDIM steps, `fresh_views` how many fresh cameras for each object measure
    the judge and the autoencoder.
    """

    data: DataConfig
    judge: TrainConfig
    autoencoder: TrainConfig
    prior: TrainConfig
    autoencoder_channels: tuple[int, ...]
    sizes: PriorConfig
    scales: tuple[float, ...]
    sheet_scale: float
    per_pair: int
    sampling_steps: int
    fresh_views: int

    def seeded(self, seed: int) -> Recipe:
        """The same with another seed everywhere."""
        parts = {
            name: replace(getattr(self, name), seed=seed)
            for name in ("data", "judge", "autoencoder", "prior")
        }
        return replace(self, **parts)


FULL = Recipe(
    data=DataConfig(views=720, colours_per_view=4),
    judge=TrainConfig(steps=1500, batch=64, lr=2e-3),
    autoencoder=TrainConfig(steps=1400, batch=32, lr=3e-3, save_every=100),
    prior=TrainConfig(steps=4200, batch=64, lr=1.2e-3, warmup=150, gamma=16.97, save_every=100),
    autoencoder_channels=(16, 32, 64),
    sizes=PriorConfig(),
    scales=(1.0, 3.0, 5.0, 7.5),
    sheet_scale=5.0,
    per_pair=4,
    sampling_steps=50,
    fresh_views=200,
)
"""What made the weights that ship."""

QUICK = Recipe(
    data=DataConfig(views=2, colours_per_view=1),
    judge=TrainConfig(steps=2, batch=4, lr=1e-3),
    autoencoder=TrainConfig(steps=2, batch=4, lr=1e-3),
    prior=TrainConfig(steps=2, batch=4, lr=1e-3, gamma=16.97),
    autoencoder_channels=(4, 4, 8),
    sizes=PriorConfig(channels=(16, 16, 16), heads=2, text_width=16, text_layers=1),
    scales=(1.0,),
    sheet_scale=1.0,
    per_pair=1,
    sampling_steps=2,
    fresh_views=1,
)
"""A smoke run of every stage in seconds; its weights are of no use."""


class Training:
    """The stages of a recipe.

    Args:
        recipe: What to train.
        out: Where the results go: ``tiny-prior/``, ``judge/``, ``figures.json``, ``sample_sheet.png``.
        cache: Where renders and resumable states are kept, each under a name of its own settings and version;
            those of others are left alone.
        progress: Whether to show bars.
    """

    def __init__(self, recipe: Recipe, out: Path, cache: Path, progress: bool = True) -> None:
        self.recipe, self.out, self.cache, self.progress = recipe, out, cache, progress
        self.stages: dict[str, Callable[[], object]] = {
            "data": self.data,
            "judge": self.judge,
            "vae": self.autoencoder,
            "unet": self.prior,
            "sheet": self.sheet,
        }

    def state(self, stage: str, *settings: object) -> Path:
        """Where a stage keeps its state: another for other settings, data or versions of the program."""
        parts = [VERSION, asdict(self.recipe.data), VERSIONS[stage], *settings]
        return self.cache / f"{stage}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def data(self) -> Images:
        """Renders the training images, once."""
        return cached_images(self.recipe.data, self.cache, self.progress)

    def judge(self) -> None:
        """Trains the judge and records its accuracy on fresh renders."""
        state = self.state("judge", asdict(self.recipe.judge)) / "state.pt"
        judge = train_judge(self.data(), self.recipe.judge, state, self.progress)
        seed = FRESH_SEED + self.recipe.judge.seed
        accuracy = measure_judge(judge, self.recipe.fresh_views, seed, self.progress)
        settings = {"width": judge.width, "features": judge.embed.out_features, "accuracy": accuracy}
        save_judge(judge, self.out / "judge", {**settings, "training": asdict(self.recipe.judge)})
        print(
            "judge on fresh renders: " + ", ".join(f"{head} {value:.4g}" for head, value in accuracy.items())
        )

    @property
    def vae_folder(self) -> Path:
        """Where the autoencoder's state is kept, and the trained one."""
        return self.state("vae", asdict(self.recipe.autoencoder), self.recipe.autoencoder_channels)

    def autoencoder(self) -> AutoencoderKL:
        """Trains the autoencoder, or reads it if it is trained."""
        folder, recipe = self.vae_folder, self.recipe
        if not (folder / "config.json").is_file():
            vae = train_autoencoder(
                self.data().seen(),
                recipe.autoencoder,
                folder / "state.pt",
                recipe.autoencoder_channels,
                self.progress,
            )
            vae.save_pretrained(folder)
        vae = AutoencoderKL.from_pretrained(folder).eval()
        vae.register_to_config(
            _name_or_path=""
        )  # would be saved with the pipeline, and names a folder of this machine
        return vae

    def prior(self) -> None:
        """Trains the denoiser and the text encoder, and saves the pipeline along the way."""
        settings = (self.vae_folder.name, asdict(self.recipe.prior), asdict(self.recipe.sizes))
        train_prior(
            self.autoencoder(),
            self.data().seen(),
            self.out / "tiny-prior",
            self.recipe.prior,
            self.state("unet", *settings) / "state.pt",
            self.recipe.sizes,
            self.progress,
        )

    def sheet(self) -> None:
        """Measures what is in `out`: the model card's figures, and the sample sheet."""
        recipe = self.recipe
        pipeline, judge = load_prior(self.out / "tiny-prior"), load_judge(self.out / "judge")
        fresh = DataConfig(recipe.fresh_views, 1, FRESH_SEED + recipe.data.seed)
        figures: dict[str, object] = {
            "judge": judge.accuracy,
            "latents": latent_statistics(pipeline.vae, render_images(fresh, self.progress)),
        }
        for scale in recipe.scales:
            for name, pairs in (("seen", seen_pairs()), ("held-out", held_out_pairs())):
                found = ddim_accuracy(pipeline, judge, pairs, scale, recipe.per_pair, recipe.sampling_steps)
                figures[f"ddim {name}, guidance {scale:g}"] = asdict(found)
        for name, figure in figures.items():
            print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figure.items()))
        save_text(json.dumps(figures, indent=2) + "\n", self.out / "figures.json")
        save_sheet(pipeline, self.out / "sample_sheet.png", recipe.sheet_scale, recipe.sampling_steps)
