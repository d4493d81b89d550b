"""The parts of an optimiser step, in FLOP and seconds: rendering, encoder, network,
decoder, backward.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import threestudio
import torch
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.priors import load_model
from threestudio_msd.priors.family import Parts, family_of
from threestudio_msd.priors.loading import PretrainedModel, assembled

from ..measure.flop import counting
from .architectures import ARCHITECTURES
from .benchmark import Record, Work, seconds, vae_of
from .random_pipelines import build, on_meta

# Vectors of a prompt and their width, the pooled one among them
EMBEDDINGS = {"sd15": (77, 768), "sd21": (77, 1024), "sdxl": (78, 2048), "sd3": (334, 4096)}
POINTS = 64 * 64
# The image network of the -sd configs; its hash grid's look-ups are no operations to torch's counter
IMAGE = {
    "n_particles": 1,
    "encoding_type": "msd-hashgrid-encoding",
    "encoding": {"n_levels": 8, "base_resolution": 4, "per_level_scale": 2.0},
    "depth": 2,
    "width": 64,
}

# What some work costs
Measure = Callable[[Work], float]


@dataclass(frozen=True)
class Shares:
    """What the parts of a step cost for one image, in FLOP or in seconds.

    Attributes:
        render: The coordinate MLP, all pixels.
        render_backward: Its gradient.
        encode: The encoder.
        encode_backward: Its gradient with respect to the image.
        network: The network on one row; guidance takes two.
        decode: The decoder.
    """

    render: float
    render_backward: float
    encode: float
    encode_backward: float
    network: float
    decode: float

    def sds_step(self) -> float:
        """The cost of an SDS step under guidance."""
        return self.render + self.render_backward + self.encode + self.encode_backward + 2 * self.network

    def msd_step(self, refresh: int, decoded: bool, calls: int = 8) -> float:
        """The cost of an MSD step under guidance, averaged over `refresh` steps that
        fit one x'.
        """
        own = self.render + self.render_backward + self.encode + 2 * calls * self.network / refresh
        return own + (self.decode / refresh if decoded else self.encode_backward)

    def steps(self) -> dict[str, float]:
        """The costs of an SDS step and of MSD steps, their loss in latents or against a
        decoded target.
        """
        return {"sds": self.sds_step()} | {
            f"msd, refresh_every {refresh}, {space}": self.msd_step(refresh, space == "image")
            for refresh in (1, 4, 8)
            for space in ("latent", "image")
        }

    @property
    def decoding_pays_from(self) -> int:
        """The least `refresh_every` from which on a decoded target costs less than the
        encoder's gradient.
        """
        return math.floor(self.decode / self.encode_backward) + 1


def flop(work: Work) -> float:
    with counting() as counter:
        work()
    return float(counter.get_total_flops())


def median_of(rounds: int) -> Measure:
    """Seconds, the median of several calls after a first one."""
    return lambda work: statistics.median([seconds(work) for _ in range(rounds + 1)][1:])


def shares_of(
    model: PretrainedModel, embeddings: tuple[int, int], measure: Measure, device: str = "cpu"
) -> Shares:
    """Measure the parts of a step for one image.

    Args:
        model: The model.
        embeddings: See `EMBEDDINGS`.
        measure: `flop`, or `median_of(...)`.
        device: Where the model is.
    """
    mlp, points = threestudio.find("msd-image-mlp")(IMAGE), torch.rand(POINTS, 2)
    images = torch.rand(1, 3, model.resolution, model.resolution, device=device).requires_grad_()
    latents = torch.zeros(1, *model.latent_shape, device=device)
    condition = model.condition(torch.zeros(1, *embeddings, device=device))
    network = torch.no_grad()(lambda: model.denoiser(latents, torch.ones((), device=device), condition))

    def both(work: Work, pixels: float = 1.0) -> tuple[float, float]:
        """Forward, and backward as the rest of the two together."""
        ahead, whole = measure(work), measure(lambda: work().sum().backward())
        return ahead * pixels, max(whole - ahead, 0.0) * pixels

    return Shares(
        *both(lambda: mlp(points), model.resolution**2 / POINTS),
        *both(lambda: model.encode(images)),
        measure(network),
        measure(lambda: model.decode(latents)),
    )


def record(name: str, model: PretrainedModel, shares: Shares, unit: float) -> Record:
    """A model's line of the table; the parts and `steps` are in units."""
    modules = model.backbone, vae_of(model)
    return {
        "model": name,
        "resolution": model.resolution,
        "parameters": sum(p.numel() for module in modules for p in module.parameters()),
        **{part: value / unit for part, value in asdict(shares).items()},
        "encoder_percent": 100 * shares.encode_backward / shares.sds_step(),
        "decoding_pays_from": shares.decoding_pays_from,
        "steps": {step: value / unit for step, value in shares.steps().items()},
    }


def all_shares(rounds: int) -> Iterator[Record]:
    """Time and count the embedded prior's step; count those of published models."""
    tiny = load_model(asset(TINY_PRIOR))
    prompt = (16, tiny.backbone.config.cross_attention_dim)
    yield record("tiny prior, ms", tiny, shares_of(tiny, prompt, median_of(rounds)), 1e-3)
    yield record("tiny prior", tiny, shares_of(tiny, prompt, flop), 1e12)
    yield from map(shares_on_meta, EMBEDDINGS)


def shares_on_meta(like: str) -> Record:
    """Count the TFLOP of a published model's parts: nothing is computed, and no weights
    are needed.
    """
    model = model_on_meta(like)
    return record(like, model, shares_of(model, EMBEDDINGS[like], flop, "meta"), 1e12)


def model_on_meta(like: str) -> PretrainedModel:
    made = ARCHITECTURES[like]
    family = family_of(made.pipeline)
    network, vae = (
        on_meta(made.parts[part]).requires_grad_(False).eval() for part in (family.backbone[0], "vae")
    )
    return assembled(family, Parts(network, build(made.parts["scheduler"]), vae), torch.float32)
