"""The parts of an optimiser step, in FLOP and seconds: rendering, encoder, network, decoder, backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from threestudio_msd.priors.family import Parts, family_of
from threestudio_msd.priors.loading import PretrainedModel, assembled

from ..measure.flop import counting
from .architectures import ARCHITECTURES
from .benchmark import device_clock, seconds
from .random_pipelines import build, on_meta

EMBEDDINGS = {"sd15": (77, 768), "sd21": (77, 1024), "sdxl": (78, 2048), "sd3": (334, 4096)}
"""Vectors of a prompt and their width, the pooled one among them."""
POINTS = 64 * 64
IMAGE = {"encoding": {"n_frequencies": 128, "scale": 10.0}, "depth": 4, "width": 256}
"""The coordinate MLP of the -sd configs."""


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
        """An SDS step under guidance."""
        return self.render + self.render_backward + self.encode + self.encode_backward + 2 * self.network

    def msd_step(self, refresh: int, decoded: bool, calls: int = 8) -> float:
        """An MSD step under guidance, averaged over `refresh` steps that fit one x' of so many calls."""
        own = self.render + self.render_backward + self.encode + 2 * calls * self.network / refresh
        return own + (self.decode / refresh if decoded else self.encode_backward)

    @property
    def decoding_pays_from(self) -> int:
        """The least `refresh_every` from which on a decoded target costs less than the encoder's gradient."""
        return math.floor(self.decode / self.encode_backward) + 1


@dataclass(frozen=True)
class Costs:
    """A model's parts.

    Attributes:
        model: Its name.
        resolution: Pixels a side.
        parameters: Of network and autoencoder.
        shares: See there.
        encoder_share: The part of an SDS step that the encoder's gradient is.
        decoding_pays_from: See `Shares`.
        steps: An SDS step and MSD steps of 8 calls at refresh 1, 4 and 8, with the loss in latents and
            against the decoded target.
    """

    model: str
    resolution: int
    parameters: int
    shares: Shares
    encoder_share: float
    decoding_pays_from: int
    steps: Mapping[str, float]

    @classmethod
    def of(cls, name: str, model: PretrainedModel, shares: Shares) -> Costs:
        """What follows from the parts."""
        modules = (model.backbone, model.space.vae)
        steps = {"sds": shares.sds_step()}
        for refresh in (1, 4, 8):
            steps |= {
                f"msd, refresh_every {refresh}, {space}": shares.msd_step(refresh, space == "image")
                for space in ("latent", "image")
            }
        return cls(
            name,
            model.resolution,
            sum(p.numel() for module in modules for p in module.parameters()),
            shares,
            shares.encode_backward / shares.sds_step(),
            shares.decoding_pays_from,
            steps,
        )


Work = Callable[[], object]
Measure = Callable[[Work], float]
"""What some work costs."""


def flop(work: Work) -> float:
    """Its floating point operations."""
    with counting() as counter:
        work()
    return float(counter.get_total_flops())


def best_of(rounds: int) -> Measure:
    """Its seconds: the median of several."""

    def measure(work: Work) -> float:
        work()
        return sorted(seconds(work, device_clock) for _ in range(rounds))[rounds // 2]

    return measure


def shares_of(
    model: PretrainedModel, embeddings: tuple[int, int], measure: Measure, device: str = "cpu"
) -> Shares:
    """The parts of a step on a model, for one image.

    Args:
        model: The model.
        embeddings: See `EMBEDDINGS`.
        measure: `flop`, or `best_of(...)`.
        device: Where the model is.
    """
    import threestudio

    size = model.resolution
    mlp, points = threestudio.find("msd-image-mlp")({"n_particles": 1, **IMAGE}), torch.rand(POINTS, 2)
    images = torch.rand(1, 3, size, size, device=device).requires_grad_()
    latents = torch.zeros(1, *model.latent_shape, device=device)
    condition = model.condition(torch.zeros(1, *embeddings, device=device))
    pixels = size**2 / POINTS

    def network() -> None:
        with torch.no_grad():
            model.denoiser(latents, torch.ones((), device=device), condition)

    def both(work: Callable[[], torch.Tensor]) -> tuple[float, float]:
        """Forward, and backward as the rest of the two together."""
        ahead, whole = measure(work), measure(lambda: work().sum().backward())
        return ahead, max(whole - ahead, 0.0)

    rendering = both(lambda: mlp(points))
    encoding = both(lambda: model.encode(images))
    return Shares(
        rendering[0] * pixels,
        rendering[1] * pixels,
        *encoding,
        measure(network),
        measure(lambda: model.decode(latents)),
    )


def costs_on_meta(like: str) -> Costs:
    """The FLOP of a published model's parts: nothing is computed, and no weights are needed."""
    model = model_on_meta(like)
    return Costs.of(like, model, shares_of(model, EMBEDDINGS[like], flop, "meta"))


def model_on_meta(like: str) -> PretrainedModel:
    """A published model without its weights."""
    made = ARCHITECTURES[like]("full")
    family = family_of(made.pipeline)
    parts = Parts(
        on_meta(made.parts[family.backbone[0]]).requires_grad_(False).eval(),
        build(made.parts["scheduler"]),
        on_meta(made.parts["vae"]).requires_grad_(False).eval(),
    )
    return assembled(family, parts, torch.float32)


def as_rows(costs: Costs, unit: float) -> dict[str, float]:
    """The parts in units, for a table."""
    return {name: value / unit for name, value in asdict(costs.shares).items()}
