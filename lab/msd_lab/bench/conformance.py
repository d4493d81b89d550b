"""Compare every family with its own pipeline in the diffusers at hand, on random networks of its classes.

A row runs a tiny pipeline with a prompt, a negative prompt and guidance, and beside it our denoiser under an
Euler loop that takes nothing from the scheduler but its noise levels. Every parameter is drawn (see
`redrawn`), since new transformers answer zero at any time and prompt. The same loop with the time times 0.9,
or with w + 1, must miss.

python scripts/conformance.py                  # all families
python scripts/conformance.py ZImagePipeline   # one
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threestudio_msd.distillation import sample
from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.priors import FAMILIES, PretrainedModel, PriorError, load_model
from threestudio_msd.priors.codec import PixelCodec
from threestudio_msd.priors.denoisers import FlowDenoiser
from threestudio_msd.priors.embeddings import Embeddings
from threestudio_msd.priors.transformer import pack, unpack
from torch import Tensor

from .random_pipelines import Changes, save_random_pipeline

STEPS = 4
PROMPT, NEGATIVE = "a red mug on a wooden table by the window", "blurry"
TOLERANCE, CODEC_TOLERANCE, MISS = 1e-4, 1e-5, 1e-2
NO_BINS = {"use_resolution_binning": False}
FIRST_ORDER: Changes = {"scheduler": {"solver_order": 1}}


@dataclass(frozen=True)
class Case:
    """How a pipeline is called.

    Attributes:
        like: One of `ARCHITECTURES`.
        scale: w in this project's meaning, by default the pipeline's own.
        argument: The pipeline's name of it.
        offset: w minus the pipeline's number.
        negative: The negative prompt; a pipeline that takes none embeds an empty one.
        packed: Whether the pipeline takes and returns packed latents.
        ddim: Whether DDIM replaces the scheduler, whose own step is no Euler step or draws noise.
        arguments: Further arguments of the call.
        options: `model_options`.
        changes: Settings of the pipeline's parts.
        size: Pixels a side.
        redraw: Standard deviation of the noise on every parameter: enough for the prompt to be seen.
    """

    like: str
    scale: float
    argument: str = "guidance_scale"
    offset: float = 0.0
    negative: str = NEGATIVE
    packed: bool = False
    ddim: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    size: int = 16
    redraw: float = 0.1


ABOVE_CLAMP: Changes = {"scheduler": {"shift_terminal": 0.06}}  # below 0.05 the step is not along z - D
RESCALED = {"rescaled_guidance": True}
COLUMNS = {
    "error": "error",
    "time x .9": "time",
    "w + 1": "guidance",
    "codec": "codec",
    "images": "images",
    "bfloat16": "bfloat16",
}
FORM = "{:26}" + "{:>10}" * len(COLUMNS)
CASES = {
    "StableDiffusionPipeline": Case("sd15", 7.5, ddim=True),
    "StableDiffusionXLPipeline": Case("sdxl", 5.0, ddim=True),
    "StableDiffusion3Pipeline": Case("sd3", 7.0),
    "IFPipeline": Case("if", 7.0, ddim=True),
    "FluxPipeline": Case("flux", 3.0, "true_cfg_scale", packed=True),
    "Flux2KleinPipeline": Case("flux2-klein", 4.0, negative=""),
    "ChromaPipeline": Case("chroma", 5.0, packed=True),
    "Lumina2Pipeline": Case("lumina2", 4.0, options=RESCALED),
    "PixArtSigmaPipeline": Case("pixart-sigma", 4.5, arguments=NO_BINS, changes=FIRST_ORDER),
    "PRXPixelPipeline": Case(
        "prx-pixel", 4.0, arguments=NO_BINS, changes=ABOVE_CLAMP, options={"resolution": 16}
    ),
    "QwenImagePipeline": Case(
        "qwen-image", 4.0, "true_cfg_scale", packed=True, options={"resolution": 16, **RESCALED}, redraw=0.2
    ),
    "SanaPipeline": Case("sana", 4.5, arguments=NO_BINS, changes=FIRST_ORDER, size=32),
    "ZImagePipeline": Case("z-image", 6.0, offset=1.0),
}
"""By the pipeline's class."""


@dataclass(frozen=True)
class Row:
    """What a comparison found; differences count in the greatest absolute final latent where that is above 1.

    Attributes:
        pipeline: Its class.
        error: Greatest difference between our final latents and the pipeline's.
        time: The same with the time times 0.9.
        guidance: The same with w + 1.
        codec: Greatest difference of latents from themselves scaled, unscaled, packed and unpacked.
        images: Greatest difference between our decoded images and the pipeline's.
        bfloat16: The same as `error`, our networks and loop in bfloat16, the time in float32.
    """

    pipeline: str
    error: float
    time: float
    guidance: float
    codec: float
    images: float
    bfloat16: float

    @property
    def complaints(self) -> list[str]:
        """What does not hold; nothing where the family is verified."""
        found = {
            f"final latents differ by {self.error:.1e}": self.error > TOLERANCE,
            f"a wrong time misses by {self.time:.1e} only": self.time < MISS,
            f"a wrong w misses by {self.guidance:.1e} only": self.guidance < MISS,
            f"latents come back with {self.codec:.1e}": self.codec > CODEC_TOLERANCE,
            f"decoded images differ by {self.images:.1e}": self.images > TOLERANCE,
        }
        return [text for text, holds in found.items() if holds]


@dataclass(frozen=True)
class Pair:
    """A pipeline and our model of the same files, with one start and one prompt."""

    case: Case
    pipe: Any
    model: PretrainedModel
    embeddings: Tensor
    start: Tensor

    @classmethod
    def made(cls, pipeline: str, folder: Path, dtype: str = "float32") -> Pair:
        """Load both; `folder` is written by `save_random_pipeline`."""
        import diffusers  # a second to import

        case = CASES[pipeline]
        model = load_model(str(folder), dtype=dtype, options=case.options)
        pipe = getattr(diffusers, pipeline).from_pretrained(folder, local_files_only=True)
        pipe.set_progress_bar_config(disable=True)
        family = FAMILIES[pipeline]
        with torch.no_grad():
            blocks = [
                family.embed(pipe, [PROMPT]),
                (family.embed_negative or family.embed)(pipe, [case.negative]),
            ]
        if case.ddim:
            settings = {
                "timestep_spacing": "leading",
                "set_alpha_to_one": True,
                "clip_sample": False,
                "thresholding": False,
            }
            pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, **settings)
            pipe.scheduler.register_to_config(variance_type="fixed")
        start = torch.randn(1, *model.codec.shape(case.size), generator=torch.Generator().manual_seed(0))
        return cls(case, pipe, model, Embeddings.joined(blocks).packed(), start)

    @torch.no_grad()
    def theirs(self, output: str = "latent") -> Tensor:
        """Run the pipeline to final latents, or to images for output `pt`."""
        case, start = self.case, pack(self.start) if self.case.packed else self.start
        guidance = {case.argument: case.scale - case.offset}
        negative = {"negative_prompt": case.negative} if case.negative else {}
        given: dict[str, Any] = {"latents": start}
        if hasattr(self.pipe, "prepare_intermediate_images"):  # takes no latents, and returns them for `pt`
            self.pipe.prepare_intermediate_images = lambda *_: start
            given, output = {}, "pt"
        size = {"height": case.size, "width": case.size, "num_inference_steps": STEPS, "output_type": output}
        found = self.pipe(prompt=PROMPT, **negative, **guidance, **given, **size, **case.arguments).images
        return unpack(found, *self.start.shape[2:]) if case.packed and output == "latent" else found

    def levels(self) -> Tensor:
        """Noise levels of the pipeline's last run, the last 0; pure noise is the level of 1 - 1e-8."""
        scheduler, denoiser = self.pipe.scheduler, self.model.denoiser
        if self.case.ddim:
            return torch.cat([denoiser.schedule.sigma_at(scheduler.timesteps), torch.zeros(1)]).double()
        times = scheduler.sigmas.double()
        if not isinstance(denoiser, FlowDenoiser):
            return times
        times = times.clamp(max=1 - 1e-8)
        return denoiser.noise_std * times / (1 - times)

    @torch.no_grad()
    def ours(self, time: float = 1.0, more: float = 0.0) -> Tensor:
        """Sample from the same start; `time` multiplies the network's time, `more` adds to w."""
        denoiser, levels = self.model.denoiser, self.levels()
        network = denoiser.network
        altered = denoiser.with_network(lambda z, t, **condition: network(z, t.float() * time, **condition))
        conditions = [self.model.condition(row) for row in self.embeddings.split(1)]
        prior = self.model.guidance(altered, *conditions, self.case.scale + more)
        if isinstance(denoiser, FlowDenoiser):
            z = self.start * (denoiser.noise_std + levels[0]) / denoiser.noise_std
        else:
            z = self.start * (1 + levels[0] ** 2).sqrt()
        return sample(prior.denoiser, z, levels)


def compare(pipeline: str) -> Row:
    """Compare a family with its pipeline.

    Raises:
        PriorError: The diffusers at hand lacks the pipeline.
    """
    FAMILIES[pipeline].diffusers(pipeline)
    case = CASES[pipeline]
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = save_random_pipeline(Path(name), case.like, changes=case.changes, redraw=case.redraw)
        pair = Pair.made(pipeline, folder)
        codec, theirs = pair.model.codec, pair.theirs()
        is_scaled = hasattr(codec, "scale")
        if is_scaled and theirs.shape != pair.start.shape:
            theirs = codec.scale(theirs)  # FLUX.2 [klein] returns what the autoencoder decodes
        ours, unit = pair.ours(), max(1.0, float(theirs.abs().max()))
        half = Pair.made(pipeline, folder, "bfloat16")
        half.pipe.scheduler = pair.pipe.scheduler
        return Row(
            pipeline,
            apart(ours, theirs) / unit,
            apart(pair.ours(time=0.9), theirs) / unit,
            apart(pair.ours(more=1.0), theirs) / unit,
            apart(restored(pair), pair.start),
            0.0 if isinstance(codec, PixelCodec) else apart(codec.decode(ours), pair.theirs("pt")),
            apart(half.ours(), theirs) / unit,
        )


def restored(pair: Pair) -> Tensor:
    """Unscale and scale latents, packed and unpacked where the pipeline packs; encode and decode pixels."""
    codec, start = pair.model.codec, pair.start
    if isinstance(codec, PixelCodec):
        return codec.encode(codec.decode(start.clamp(-1, 1))) + start - start.clamp(-1, 1)
    latents = codec.scale(codec.unscale(start))
    return unpack(pack(latents), *latents.shape[2:]) if pair.case.packed else latents


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' remarks on tiny random models."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def run(args: argparse.Namespace) -> int:
    """Print a row a family as it is found; returns 0 if all are verified, else 1.

    Raises:
        UserError: A name is no known pipeline class.
    """
    for name in args.pipelines:
        if name not in CASES:
            raise UserError(f"expected one of {', '.join(CASES)}, got {name!r}{did_you_mean(name, CASES)}")
    print(
        f"diffusers {version('diffusers')}, transformers {version('transformers')}, torch {torch.__version__}"
    )
    print(FORM.format("pipeline", *COLUMNS), flush=True)
    lines = [(name, *outcome(name)) for name in args.pipelines or CASES]
    return int(any(found != "verified" for *_, found in lines))


def outcome(pipeline: str) -> tuple[Row | None, str]:
    """Compare a family and print its row: what was found, and `verified` or what changed."""
    row, found = None, "verified"
    try:
        row = compare(pipeline)
        found = "; ".join(row.complaints) or found
    except PriorError as error:
        found = str(error)
    except Exception as error:  # whatever another release of the libraries does
        found = f"cannot be run: {type(error).__name__}: {first_line(error)}"
    figures = [f"{getattr(row, name):.1e}" if row else "" for name in COLUMNS.values()]
    print(FORM.format(pipeline, *figures), found, flush=True)
    return row, found
