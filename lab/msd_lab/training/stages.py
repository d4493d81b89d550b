"""Trains everything in `assets/` from nothing, in stages that can be stopped and resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diffusers import AutoencoderKL
from threestudio_msd.assets_path import TINY_PRIOR
from threestudio_msd.files import save_text

from ..assets import ASSETS
from ..tinyworld.judge import JUDGES, Judge, load_judge, save_judge
from ..tinyworld.probe import PROBE, Probe
from . import card
from .autoencoder import train_autoencoder, train_decoder
from .classifiers import JudgeConfig, JudgeRound, record_of, train_judge, train_probe
from .data import VERSION, DataConfig, Images, cached_images
from .loop import TrainConfig
from .measures import Measures, measure_details_kept, measure_prior, save_sheet
from .prior import PRIOR_FOLDER, PriorConfig, PriorRound, load_prior, train_prior

# seed of the renders that measure: far from those that train
FRESH_SEED = 1_000_003
# number of renders that the probe learns from
PROBED = 2400
# version of each stage's program: raised when a change makes states of the old one useless
VERSIONS = {"judges": 2, "vae": 2, "unet": 2}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        data: The renders that train everything.
        judges: By name, as in [`JUDGES`][msd_lab.tinyworld.judge.JUDGES].
        autoencoder: The rounds of its training.
        decoder: The decoder's further training, on noisy latents.
        prior: The rounds of the training of denoiser and text encoder.
        autoencoder_channels: Widths of the autoencoder's levels.
        sizes: Sizes of the denoiser and the text encoder.
        measures: Amounts of what is measured.
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
        """Replace every seed; no two judges share one."""
        return replace(
            self,
            data=replace(self.data, seed=seed),
            judges={
                name: replace(judge, seed=1000 * i + seed)
                for i, (name, judge) in enumerate(self.judges.items())
            },
            autoencoder=tuple(replace(part, seed=seed) for part in self.autoencoder),
            decoder=replace(self.decoder, seed=seed + len(self.autoencoder)),
            prior=tuple(replace(part, training=replace(part.training, seed=seed)) for part in self.prior),
        )


# the recipe of the weights that ship
FULL = Recipe(
    data=DataConfig(views=800, colours_per_view=4),
    judges={
        name: JudgeConfig(
            trunk,
            width,
            augmentation,
            (
                JudgeRound(TrainConfig(steps, batch=64, lr=2e-3)),
                JudgeRound(TrainConfig(1200, batch=64, lr=1e-3, warmup=50), mixed=12, blurs=2, painted=14),
                JudgeRound(TrainConfig(2400, batch=80, lr=1.5e-3), mixed=18, blurs=2, painted=16, bank=3000),
                JudgeRound(TrainConfig(2400, batch=80, lr=1.5e-3), mixed=24, blurs=2, painted=16, bank=3000),
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

# a smoke run of every stage in seconds; its weights are of no use
QUICK = Recipe(
    data=DataConfig(views=2, colours_per_view=1),
    judges={
        name: JudgeConfig(
            trunk,
            4,
            augmentation,
            (JudgeRound(TrainConfig(steps=2, batch=16, lr=1e-3), mixed=2, blurs=2, painted=2, bank=2),) * 2,
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
        per_start=1,
        starts=(500,),
    ),
)


class Training:
    """The stages of a recipe.

    Args:
        recipe: The recipe.
        out: Folder of the results: ``tiny-prior/``, ``judge/``, ``second-judge/``,
            ``figures.json``, ``sample_sheet.png``, and the tables of ``README.md``.
        cache: Folder of renders and resumable states, each under a name made from its
            settings and version; those of others are left alone.
    """

    def __init__(self, recipe: Recipe, out: Path, cache: Path) -> None:
        self.recipe, self.out, self.cache = recipe, out, cache
        self.pipeline = out / TINY_PRIOR
        classifiers = ASSETS if out.resolve() == PRIOR_FOLDER.parent else out
        self.judge_folders = {name: classifiers / JUDGES[name].name for name in recipe.judges}
        self.probe_file = classifiers / PROBE
        self.fresh_seed = FRESH_SEED + recipe.data.seed
        rounds = [asdict(part) for part in (*recipe.autoencoder, recipe.decoder)]
        self.vae_folder = self.state("vae", rounds, recipe.autoencoder_channels)
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
        """Name a stage's folder: another for other settings, data or versions of the program."""
        parts = [VERSION, asdict(self.recipe.data), VERSIONS[stage], *settings]
        return self.cache / f"{stage}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def data(self) -> Images:
        return cached_images(self.recipe.data, self.cache)

    def fresh(self) -> Images:
        return cached_images(DataConfig(self.recipe.measures.fresh_views, 1, self.fresh_seed), self.cache)

    def judges(self) -> None:
        """Train the judges, measure them on fresh renders and on negatives, and write their tables."""
        images, fresh = self.data(), self.fresh()
        for name, config in self.recipe.judges.items():
            judge = train_judge(images, config, self.state("judges", asdict(config)))
            record = record_of(judge, config, fresh, self.recipe.measures.negatives, self.fresh_seed)
            save_judge(judge, self.judge_folders[name], record)
        records = {name: judge.record for name, judge in self.load_judges().items()}
        self.write("judges", card.judge_tables({"judges": records}))

    def load_judges(self) -> dict[str, Judge]:
        return {name: load_judge(folder) for name, folder in self.judge_folders.items()}

    def write(self, block: str, text: str) -> None:
        print(text)
        card.fill(self.out / "README.md", block, text)

    def autoencoder(self) -> AutoencoderKL:
        """Train the autoencoder, or load it if it is trained."""
        folder, recipe = self.vae_folder, self.recipe
        if not (folder / "config.json").is_file():
            images = self.data().seen()
            vae = train_autoencoder(images, recipe.autoencoder, folder, recipe.autoencoder_channels)
            train_decoder(vae, images, recipe.decoder, folder / "decoder.pt")
            vae.save_pretrained(folder)
        vae = AutoencoderKL.from_pretrained(folder).eval()
        vae.register_to_config(_name_or_path="")  # the saved pipeline must not name a folder of this machine
        return vae

    def prior(self) -> None:
        """Train the denoiser and the text encoder; the pipeline is saved at every save of the state."""
        recipe = self.recipe
        rounds = [asdict(part) for part in recipe.prior]
        states = self.state("unet", self.vae_folder.name, rounds, asdict(recipe.sizes))
        images = self.data().seen()
        train_prior(self.autoencoder(), images, self.pipeline, recipe.prior, states, recipe.sizes)

    def probe(self) -> None:
        probe = train_probe(self.data()[slice(0, PROBED)], self.fresh())
        probe.save(self.probe_file)
        print(", ".join(f"probe: {head} {100 * share:.1f} %" for head, share in probe.accuracy.items()))

    def sdedit(self) -> None:
        """Measure from which noise on samples lose details, by judges and probe; needs the extra `probe`."""
        measures = self.recipe.measures
        classifiers = {f"judge {name}": judge for name, judge in self.load_judges().items()}
        classifiers["probe"] = Probe.load(self.probe_file)
        found = measure_details_kept(load_prior(self.pipeline), classifiers, measures, self.fresh_seed)
        self.write("sdedit", card.details_kept(found, measures.starts_scale))

    def sheet(self) -> None:
        measures, pipeline, judges = self.recipe.measures, load_prior(self.pipeline), self.load_judges()
        figures = {
            "judges": {name: judge.record for name, judge in judges.items()},
            **measure_prior(pipeline, judges, measures, self.fresh(), self.fresh_seed),
        }
        save_text(json.dumps(figures, indent=2) + "\n", self.out / "figures.json")
        self.write("prior", card.prior_tables(figures))
        self.write("judges", card.judge_tables(figures))
        sheet = self.out / "sample_sheet.png"
        save_sheet(pipeline, sheet, measures.view_scales[0], measures.sampling_steps)
