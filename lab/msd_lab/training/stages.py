"""The training of everything in `assets/`, from nothing, in stages that can be stopped and resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diffusers import AutoencoderKL
from threestudio_msd.files import save_text

from ..assets import ASSETS
from ..tinyworld.judge import JUDGES, Judge, JudgeConfig, Round, load_judge, measured, save_judge, train_judge
from ..tinyworld.probe import PROBE, Probe, train_probe
from . import card
from .autoencoder import train_autoencoder, train_decoder
from .data import VERSION, DataConfig, Images, cached_images
from .loop import TrainConfig
from .measures import Measures, measure_details_kept, measure_prior, save_sheet
from .prior import PRIOR_FOLDER, PriorConfig, PriorRound, load_prior, train_prior

FRESH_SEED = 1_000_003
"""Seed of the renders that measure: far from those that train."""
PROBED = 2400
"""Renders that the probe learns from."""
VERSIONS = {"judges": 2, "vae": 2, "unet": 2}
"""Of what each stage trains: raised when its program changes so that an old state must not go on."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        data: The renders that train everything.
        judges: By name, as in [`JUDGES`][msd_lab.tinyworld.judge.JUDGES].
        autoencoder: Its training, one round after the other.
        decoder: The decoder's further training, on latents with noise.
        prior: That of the denoiser and the text encoder.
        autoencoder_channels: The autoencoder's widths.
        sizes: Of the denoiser and the text encoder.
        measures: How much is measured.
    """

    data: DataConfig
    judges: dict[str, JudgeConfig]
    autoencoder: tuple[TrainConfig, ...]
    decoder: TrainConfig
    prior: tuple[PriorRound, ...]
    autoencoder_channels: tuple[int, ...]
    sizes: PriorConfig
    measures: Measures

    def seeded(self, seed: int) -> Recipe:
        """The same with another seed everywhere; no two judges share one."""
        autoencoder = tuple(replace(part, seed=seed) for part in self.autoencoder)
        decoder = replace(self.decoder, seed=seed + len(autoencoder))
        prior = tuple(replace(part, training=replace(part.training, seed=seed)) for part in self.prior)
        judges = {
            name: replace(judge, seed=1000 * i + seed) for i, (name, judge) in enumerate(self.judges.items())
        }
        data = replace(self.data, seed=seed)
        return replace(self, data=data, judges=judges, autoencoder=autoencoder, decoder=decoder, prior=prior)


FULL = Recipe(
    data=DataConfig(views=800, colours_per_view=4),
    judges={
        name: JudgeConfig(
            trunk,
            width,
            augmentation,
            (
                Round(TrainConfig(steps, batch=64, lr=2e-3)),
                Round(TrainConfig(1200, batch=64, lr=1e-3, warmup=50), mixed=12, blurs=2, painted=14),
                Round(TrainConfig(2400, batch=80, lr=1.5e-3), mixed=18, blurs=2, painted=16, bank=3000),
                Round(TrainConfig(2400, batch=80, lr=1.5e-3), mixed=24, blurs=2, painted=16, bank=3000),
            ),
        )
        for name, trunk, width, augmentation, steps in (
            ("a", "convolutions", 24, "degrade", 2000),
            ("b", "residual", 20, "disturb", 2200),
        )
    },
    autoencoder=(
        TrainConfig(steps=5000, batch=16, lr=2.5e-3, gamma=16.97, save_every=100),
        TrainConfig(steps=8000, batch=16, lr=2e-3, warmup=200, gamma=16.97, save_every=500),
    ),
    decoder=TrainConfig(steps=5000, batch=16, lr=1.5e-3, warmup=200, gamma=16.97, save_every=500),
    prior=(
        PriorRound(TrainConfig(steps=12000, batch=16, lr=1e-3, warmup=300, gamma=16.97)),
        PriorRound(TrainConfig(steps=5000, batch=24, lr=6e-4, warmup=200, gamma=16.97)),
        PriorRound(TrainConfig(steps=12000, batch=32, lr=8e-4, warmup=200, gamma=16.97)),
        PriorRound(
            TrainConfig(steps=14000, batch=32, lr=8e-4, warmup=200, gamma=16.97),
            min_snr_gamma=100.0,
            skew=1.5,
        ),
    ),
    autoencoder_channels=(16, 32, 64),
    sizes=PriorConfig(),
    measures=Measures(),
)
"""What made the weights that ship."""

QUICK = Recipe(
    data=DataConfig(views=2, colours_per_view=1),
    judges={
        name: JudgeConfig(
            trunk,
            4,
            augmentation,
            (Round(TrainConfig(steps=2, batch=16, lr=1e-3), mixed=2, blurs=2, painted=2, bank=2),) * 2,
            features=8,
        )
        for name, trunk, augmentation in (("a", "convolutions", "degrade"), ("b", "residual", "disturb"))
    },
    autoencoder=(TrainConfig(steps=2, batch=4, lr=1e-3),) * 2,
    decoder=TrainConfig(steps=2, batch=4, lr=1e-3),
    prior=(PriorRound(TrainConfig(steps=2, batch=4, lr=1e-3, gamma=16.97)),) * 2,
    autoencoder_channels=(4, 4, 8),
    sizes=PriorConfig(channels=(16, 16, 16), heads=2, text_width=16, text_layers=1),
    measures=Measures(
        scales=(1.0,),
        view_scales=(1.0,),
        per_pair=1,
        per_view=1,
        sampling_steps=2,
        fresh_views=4,
        negatives=2,
        trips=(2,),
        sheet_scale=1.0,
        per_start=1,
        starts=(500,),
    ),
)
"""A smoke run of every stage in seconds; its weights are of no use."""


class Training:
    """The stages of a recipe.

    Args:
        recipe: What to train.
        out: Where the results go: ``tiny-prior/``, ``judge/``, ``second-judge/``, ``figures.json``,
            ``sample_sheet.png``, and the tables of ``README.md``.
        cache: Where renders and resumable states are kept, each under a name of its own settings and version;
            those of others are left alone.
        progress: Whether to show bars.
    """

    def __init__(self, recipe: Recipe, out: Path, cache: Path, progress: bool = True) -> None:
        self.recipe, self.out, self.cache, self.progress = recipe, out, cache, progress
        self.readers = ASSETS if out.resolve() == PRIOR_FOLDER.parent else out
        self.stages: dict[str, Callable[[], object]] = {
            "data": self.data,
            "judges": self.judges,
            "vae": self.autoencoder,
            "unet": self.prior,
            "sheet": self.sheet,
            "probe": self.probe,
            "sdedit": self.sdedit,
        }

    def state(self, stage: str, *settings: object) -> Path:
        """Where a stage keeps its state: another for other settings, data or versions of the program."""
        parts = [VERSION, asdict(self.recipe.data), VERSIONS[stage], *settings]
        return self.cache / f"{stage}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def data(self) -> Images:
        """Renders the training images, once."""
        return cached_images(self.recipe.data, self.cache, self.progress)

    @property
    def fresh_seed(self) -> int:
        """Of what measures."""
        return FRESH_SEED + self.recipe.data.seed

    def fresh(self) -> Images:
        """Renders the images that measure, once."""
        config = DataConfig(self.recipe.measures.fresh_views, 1, self.fresh_seed)
        return cached_images(config, self.cache, self.progress)

    def folder(self, judge: str) -> Path:
        """Where a judge goes."""
        return self.readers / JUDGES[judge].name

    def judges(self) -> None:
        """Trains the judges, and records and prints what each is worth on fresh renders and on negatives."""
        for name, config in self.recipe.judges.items():
            folder = self.state("judges", asdict(config))
            self.settle(name, config, train_judge(self.data(), config, folder, self.progress))
        records = {name: load_judge(self.folder(name)).record for name in self.recipe.judges}
        self.tell("judges", card.judge_tables({"judges": records}))

    def tell(self, block: str, text: str) -> None:
        """Prints tables and writes them into the model card."""
        print(text)
        card.fill(self.out / "README.md", block, text)

    def settle(self, name: str, config: JudgeConfig, judge: Judge) -> None:
        """Measures a trained judge and saves it."""
        record = measured(judge, config, self.fresh(), self.recipe.measures.negatives, self.fresh_seed)
        save_judge(judge, self.folder(name), record)

    @property
    def vae_folder(self) -> Path:
        """Where the autoencoder's state is kept, and the trained one."""
        recipe = self.recipe
        rounds = [asdict(part) for part in (*recipe.autoencoder, recipe.decoder)]
        return self.state("vae", rounds, recipe.autoencoder_channels)

    def autoencoder(self) -> AutoencoderKL:
        """Trains the autoencoder, or reads it if it is trained."""
        folder, recipe = self.vae_folder, self.recipe
        if not (folder / "config.json").is_file():
            images = self.data().seen()
            vae = train_autoencoder(
                images, recipe.autoencoder, folder, recipe.autoencoder_channels, self.progress
            )
            train_decoder(vae, images, recipe.decoder, folder / "decoder.pt", self.progress)
            vae.save_pretrained(folder)
        vae = AutoencoderKL.from_pretrained(folder).eval()
        vae.register_to_config(
            _name_or_path=""
        )  # would be saved with the pipeline, and names a folder of this machine
        return vae

    def prior(self) -> None:
        """Trains the denoiser and the text encoder, and saves the pipeline along the way."""
        rounds = [asdict(part) for part in self.recipe.prior]
        settings = (self.vae_folder.name, rounds, asdict(self.recipe.sizes))
        train_prior(
            self.autoencoder(),
            self.data().seen(),
            self.out / "tiny-prior",
            self.recipe.prior,
            self.state("unet", *settings),
            self.recipe.sizes,
            self.progress,
        )

    def probe(self) -> None:
        """Fits the linear probe, and prints what it is worth on fresh renders; needs the extra `probe`."""
        probe = train_probe(self.data()[slice(0, PROBED)], self.fresh())
        probe.save(self.readers / PROBE)
        print(", ".join(f"probe: {head} {100 * part:.1f} %" for head, part in probe.accuracy.items()))

    def sdedit(self) -> None:
        """Measures at which noise samples lose details, by judges and probe; needs the extra `probe`."""
        measures = self.recipe.measures
        readers = {f"judge {name}": load_judge(self.folder(name)) for name in self.recipe.judges}
        readers["probe"] = Probe.load(self.readers / PROBE)
        found = measure_details_kept(load_prior(self.out / "tiny-prior"), readers, measures, self.fresh_seed)
        self.tell("sdedit", card.details_kept(found, measures.starts_scale))

    def sheet(self) -> None:
        """Measures what is in `out`: the model card's figures, and the sample sheet."""
        measures = self.recipe.measures
        pipeline = load_prior(self.out / "tiny-prior")
        judges = {name: load_judge(self.folder(name)) for name in self.recipe.judges}
        figures = {
            "judges": {name: judge.record for name, judge in judges.items()},
            **measure_prior(pipeline, judges, measures, self.fresh(), self.fresh_seed),
        }
        save_text(json.dumps(figures, indent=2) + "\n", self.out / "figures.json")
        self.tell("prior", card.prior_tables(figures))
        self.tell("judges", card.judge_tables(figures))
        save_sheet(pipeline, self.out / "sample_sheet.png", measures.sheet_scale, measures.sampling_steps)
