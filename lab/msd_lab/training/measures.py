"""What the model card says, measured: guided samples by both judges, the latents, and the sample sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
from diffusers import (
    AutoencoderKL,
    DDIMInverseScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from threestudio_msd.files import write_whole
from torch import Tensor

from ..measure.metrics import frechet_distance
from ..tinyworld.details import DETAILS
from ..tinyworld.judge import Judge
from ..tinyworld.world import (
    COLOURS,
    HELD_OUT,
    OBJECTS,
    VIEWS,
    Caption,
    Reading,
    all_pairs,
    held_out_pairs,
    seen_pairs,
)
from .autoencoder import encode_images, mean_psnr, psnr
from .data import Images, render_captions
from .prior import sample

PLAIN, HIDDEN = 0.9, 0.02
"""Parts of the true renders of an object from a view that show a detail: from the one on, samples should too;
up to the other, they should not.
"""

Judges = Mapping[str, Judge]


class Reader(Protocol):
    """A judge, or the linear probe."""

    def classify(self, images: Tensor) -> Reading:
        """What is seen in images ``[n, h, w, 3]`` in [0, 1]."""


@dataclass(frozen=True)
class Measures:
    """How much is measured.

    Attributes:
        scales: Guidance scales of the samples without a view in their prompts.
        view_scales: Guidance scales of those with one.
        per_pair: Samples of each (object, colour) and scale.
        per_view: Samples of each (object, view) and scale.
        sampling_steps: Their DDIM steps.
        fresh_views: Fresh cameras for each object that measure judges and autoencoder.
        negatives: Fresh images of each kind of nothing.
        trips: Steps of DDIM inversion and back.
        sheet_scale: Guidance scale of the sample sheet.
        per_start: Samples, and true renders taken to noise and back, of each (object, colour).
        starts: Timesteps that true renders are taken to and back from.
        starts_scale: Guidance scale on the way back.
    """

    scales: tuple[float, ...] = (1.0, 3.0, 5.0, 7.5)
    view_scales: tuple[float, ...] = (5.0, 7.5)
    per_pair: int = 2
    per_view: int = 16
    sampling_steps: int = 50
    fresh_views: int = 200
    negatives: int = 40
    trips: tuple[int, ...] = (10, 20, 50)
    sheet_scale: float = 5.0
    per_start: int = 4
    starts: tuple[int, ...] = (60, 100, 200, 500)
    starts_scale: float = 3.0


@dataclass(frozen=True)
class Accuracy:
    """Fractions of `images` images whose object, whose colour, and both, a judge reads as asked."""

    object: float
    colour: float
    both: float
    images: int


def accuracy(judge: Reader, images: Tensor, captions: Sequence[Caption]) -> Accuracy:
    """Reads images ``[n, h, w, 3]`` in [0, 1] and compares with their captions."""
    right = judge.classify(images).right(captions)
    return Accuracy(**{name: fmean(hits) for name, hits in right.items()}, images=len(captions))


def view_accuracy(judge: Judge, images: Tensor, captions: Sequence[Caption]) -> dict[str, dict[str, float]]:
    """Fractions of images ``[n, h, w, 3]`` whose view a judge reads as asked: by view, and by object."""
    by_view, by_object = defaultdict(list), defaultdict(list)
    for caption, view in zip(captions, judge.classify(images).view, strict=True):
        by_view[caption.view].append(caption.view == view)
        by_object[caption.object].append(caption.view == view)
    return {
        kind: {name: fmean(hits) for name, hits in found.items()}
        for kind, found in (("views", by_view), ("objects", by_object))
    }


def pair_captions(pairs: Sequence[tuple[str, str]], each: int) -> list[Caption]:
    """``"a COLOUR OBJECT"`` for every pair, `each` times."""
    return [Caption(*pair) for pair in pairs for _ in range(each)]


def view_captions(each: int) -> list[Caption]:
    """`each` captions of every object from every view, in the colours in turn that the prior has seen."""
    captions = []
    for name in OBJECTS:
        colours = [colour for colour in COLOURS if (name, colour) not in HELD_OUT]
        turns = (Caption(name, colours[i % len(colours)], VIEWS[i // each]) for i in range(each * len(VIEWS)))
        captions += turns
    return captions


@dataclass(frozen=True)
class Probe:
    """A question about a detail.

    Attributes:
        object: Of which object.
        detail: Which of its two.
        there: Whether it should be seen.
        views: From where.
    """

    object: str
    detail: int
    there: bool
    views: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as ``"house: door"`` or ``"house: no door"``."""
        return f"{self.object}: {'' if self.there else 'no '}{DETAILS[self.object][self.detail].name}"


def probes(renders: Images) -> list[Probe]:
    """What samples are asked: details that true renders from a view as good as always show, or never.

    Args:
        renders: True renders.
    """
    found = []
    for i, name in enumerate(OBJECTS):
        for k in range(2):
            shares = {}
            for v, view in enumerate(VIEWS):
                hits = renders.details[(renders.object == i) & (renders.view == v), k] == 1
                shares[view] = hits.float().mean().item()
            plain = tuple(view for view, share in shares.items() if share >= PLAIN)
            hidden = tuple(view for view, share in shares.items() if share <= HIDDEN)
            found += [Probe(name, k, True, plain)] * bool(plain) + [Probe(name, k, False, hidden)] * bool(
                hidden
            )
    return found


def probed(
    judge: Judge, images: Tensor, captions: Sequence[Caption], asked: Sequence[Probe]
) -> dict[str, float]:
    """Fractions of images that show a detail, or do not, as they should, by the probe's name.

    Args:
        judge: Whose probes are asked.
        images: ``[n, h, w, 3]`` in [0, 1].
        captions: What each was asked to show, with a view.
        asked: See [`probes`][].
    """
    seen = judge.details(images, [caption.object for caption in captions]).tolist()
    return {
        probe.name: fmean(
            shown[probe.detail] == probe.there
            for caption, shown in zip(captions, seen, strict=True)
            if caption.object == probe.object and caption.view in probe.views
        )
        for probe in asked
    }


@torch.no_grad()
def latent_statistics(vae: AutoencoderKL, images: Images) -> dict[str, float]:
    """What scaled latents look like: of true renders, and of the flat and noisy images that distillation
    starts from.
    """
    scale = vae.config.scaling_factor
    mean, std = encode_images(vae, images)

    def largest(rgb: Tensor) -> float:
        return float(_scaled_latents(vae, rgb).abs().max())

    generator = torch.Generator().manual_seed(0)
    flat = torch.rand(64, 3, 1, 1, generator=generator).expand(-1, -1, 64, 64)
    noise = torch.rand(64, 3, 64, 64, generator=generator)
    return {
        "psnr": psnr(vae, images),
        "scaling_factor": scale,
        "std": float(scale * mean.std()),
        "posterior_std": float(scale * std.mean()),
        "largest": float(scale * mean.abs().max()),
        "largest_of_grey": largest(torch.full((1, 3, 64, 64), 0.5)),
        "largest_of_flat_colours": largest(flat),
        "largest_of_noise": largest(noise),
    }


@torch.no_grad()
def round_trip(
    pipeline: StableDiffusionPipeline, images: Images, captions: Sequence[Caption], steps: int
) -> float:
    """Mean PSNR (dB) of images that DDIM inversion takes to noise in so many steps and DDIM back, without
    guidance.
    """
    vae, unet, rgb = pipeline.vae, pipeline.unet, images.float
    up, down = DDIMInverseScheduler.from_config(pipeline.scheduler.config), pipeline.scheduler
    text, _ = pipeline.encode_prompt([c.text for c in captions], pipeline.device, 1, False)
    z = _scaled_latents(vae, rgb)
    for scheduler in (up, down):
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            z = scheduler.step(unet(z, t, text).sample, t, z).prev_sample
    return mean_psnr(vae.decode(z / vae.config.scaling_factor).sample, rgb)


@torch.no_grad()
def sdedit(
    pipeline: StableDiffusionPipeline,
    images: Images,
    captions: Sequence[Caption],
    start: int,
    guidance_scale: float,
    steps: int = 50,
    seed: int = 0,
) -> Tensor:
    """Renders whose latents get the noise of a timestep, and are denoised by guided DDIM (SDEdit, Meng et al.
    2022).

    Args:
        pipeline: The prior.
        images: True renders.
        captions: What each shows.
        start: The timestep, above 0.
        guidance_scale: Guidance on the way back.
        steps: DDIM steps that go over all timesteps; those from `start` on are taken.
        seed: Of the noise.

    Returns:
        ``[n, h, w, 3]`` in [0, 1].
    """
    edit = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    edit.set_progress_bar_config(disable=True)
    edited = edit(
        [caption.text for caption in captions],
        image=_scaled_latents(pipeline.vae, images.float),
        strength=start / pipeline.scheduler.config.num_train_timesteps,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return edited.images.permute(0, 2, 3, 1).float()


def _scaled_latents(vae: AutoencoderKL, rgb: Tensor) -> Tensor:
    return vae.config.scaling_factor * vae.encode(2 * rgb - 1).latent_dist.mode()


@torch.no_grad()
def measure_details_kept(
    pipeline: StableDiffusionPipeline, readers: Mapping[str, Reader], settings: Measures, seed: int
) -> dict[str, dict[str, Accuracy]]:
    """At which noise samples lose what readers know things by: see [`sdedit`][].

    Args:
        pipeline: The prior.
        readers: By name.
        settings: How much is measured.
        seed: Of the true renders.

    Returns:
        By kind of images, and by reader.
    """
    captions = pair_captions(all_pairs(), settings.per_start)
    renders = render_captions(captions, seed + 4)
    scale, steps = settings.starts_scale, settings.sampling_steps
    decoded = pipeline.vae(2 * renders.float - 1).sample
    found = {"true renders": renders.float, "through the autoencoder": ((decoded + 1) / 2).clamp(0, 1)}
    found = {name: images.permute(0, 2, 3, 1) for name, images in found.items()}
    for start in settings.starts:
        name = f"the same, from t = {start} back"
        found[name] = sdedit(pipeline, renders, captions, start, scale, steps)
    found[f"samples, w = {scale:g}"] = sample(pipeline, [caption.text for caption in captions], scale, steps)
    return {
        name: {reader: accuracy(one, images, captions) for reader, one in readers.items()}
        for name, images in found.items()
    }


def measure_prior(
    pipeline: StableDiffusionPipeline, judges: Judges, settings: Measures, fresh: Images, seed: int
) -> dict[str, Any]:
    """Every figure of the model card that is about the prior, as plain containers.

    Args:
        pipeline: The prior.
        judges: By name.
        settings: How much is measured.
        fresh: True renders that nothing was trained on.
        seed: Of further ones; the samples' seeds are counted from 0.
    """
    draw = partial(sample, pipeline, steps=settings.sampling_steps)
    return {
        "latents": latent_statistics(pipeline.vae, fresh),
        "round trips": _round_trips(pipeline, settings.trips, seed),
        "pairs": _pairs(draw, judges, settings),
        **_views(draw, judges, settings, probes(fresh), seed),
    }


def _round_trips(pipeline: StableDiffusionPipeline, trips: Sequence[int], seed: int) -> dict[str, float]:
    captions = view_captions(1)[::2]
    images = render_captions(captions, seed + 3)
    return {str(steps): round_trip(pipeline, images, captions, steps) for steps in trips}


def _pairs(draw: partial[Tensor], judges: Judges, settings: Measures) -> dict[str, Any]:
    """Right object and colour by guidance scale, kind of pair and judge."""
    found: dict[str, Any] = {}
    for scale in settings.scales:
        for kind, pairs in (("seen", seen_pairs()), ("held out", held_out_pairs())):
            captions = pair_captions(pairs, settings.per_pair)
            images = draw([caption.text for caption in captions], scale)
            read = {name: asdict(accuracy(judge, images, captions)) for name, judge in judges.items()}
            found.setdefault(f"{scale:g}", {})[kind] = read
    return found


def _views(
    draw: partial[Tensor],
    judges: Judges,
    settings: Measures,
    asked: Sequence[Probe],
    seed: int,
) -> dict[str, Any]:
    """Views, Fréchet distances and details: of true renders, and of samples by guidance scale."""
    captions = view_captions(settings.per_view)
    truth, again = (render_captions(captions, seed + k).float.permute(0, 2, 3, 1) for k in (1, 2))
    sets = {"true renders": again} | {
        f"w = {scale:g}": draw([caption.text for caption in captions], scale)
        for scale in settings.view_scales
    }
    views, distances, details = ({name: {} for name in sets} for _ in range(3))
    for judge_name, judge in judges.items():
        features = judge.features(truth).numpy()
        for name, images in sets.items():
            views[name][judge_name] = view_accuracy(judge, images, captions)
            distances[name][judge_name] = frechet_distance(features, judge.features(images).numpy())
            details[name][judge_name] = probed(judge, images, captions, asked)
    return {
        "views": views,
        "images of views": len(captions),
        "frechet": distances,
        "details": details,
        "details asked from": {probe.name: probe.views for probe in asked},
    }


def save_sheet(
    pipeline: StableDiffusionPipeline, path: Path, guidance_scale: float, steps: int = 50, seed: int = 0
) -> None:
    """Draws one guided DDIM sample of every object (rows) in every colour (columns)."""
    captions = [Caption(name, colour) for name in OBJECTS for colour in COLOURS]
    images = sample(pipeline, [caption.text for caption in captions], guidance_scale, steps, seed)
    side = images.shape[1]
    grid = images.view(len(OBJECTS), len(COLOURS), side, side, 3).permute(0, 2, 1, 3, 4)
    sheet = (grid.reshape(len(OBJECTS) * side, len(COLOURS) * side, 3) * 255).round().byte().numpy()
    write_whole(path, partial(Image.fromarray(sheet).save, format="PNG", optimize=True))
