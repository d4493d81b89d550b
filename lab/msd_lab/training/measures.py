"""Measures the model card's figures: classified samples, the latents, and the sample sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

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
from ..tinyworld.probe import Probe
from ..tinyworld.world import (
    COLOURS,
    HELD_OUT,
    OBJECTS,
    VIEWS,
    Caption,
    all_pairs,
    held_out_pairs,
    seen_pairs,
)
from .autoencoder import encode_images, mean_psnr, psnr
from .data import Images, render_captions
from .prior import sample

# shares of an object's true renders from a view that show a detail: from the first number on,
# samples should show it too; up to the second, they should not
ALWAYS, NEVER = 0.9, 0.02

Judges = Mapping[str, Judge]


@dataclass(frozen=True)
class Measures:
    """Amounts of samples and renders that are measured.

    Attributes:
        scales: Guidance scales of the samples without a view in their prompts.
        view_scales: Guidance scales of those with one; the first is the sample sheet's.
        per_pair: Samples of each (object, colour) and scale.
        per_view: Samples of each (object, view) and scale.
        sampling_steps: DDIM steps of all samples.
        fresh_views: Fresh cameras for each object that measure judges and autoencoder.
        negatives: Fresh images of each kind of nothing.
        trips: Steps of DDIM inversion and back.
        per_start: Samples, and true renders taken to noise and back, of each (object,
            colour).
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
    per_start: int = 4
    starts: tuple[int, ...] = (60, 100, 200, 500)
    starts_scale: float = 3.0


def accuracy(classifier: Judge | Probe, images: Tensor, captions: Sequence[Caption]) -> dict[str, float]:
    """Classify images ``[n, h, w, 3]`` in [0, 1] and compare with their captions.

    Returns:
        Fractions right by ``object``, ``colour`` and ``both``, and the number of
        ``images``.
    """
    right = classifier.classify(images).right(captions)
    return {name: fmean(hits) for name, hits in right.items()} | {"images": len(captions)}


def view_accuracy(judge: Judge, images: Tensor, captions: Sequence[Caption]) -> dict[str, dict[str, float]]:
    """Classify the view of images ``[n, h, w, 3]``: fractions right by view, and by object."""
    found = {"views": defaultdict(list), "objects": defaultdict(list)}
    for caption, view in zip(captions, judge.classify(images).view, strict=True):
        found["views"][caption.view].append(caption.view == view)
        found["objects"][caption.object].append(caption.view == view)
    return {kind: {name: fmean(hits) for name, hits in own.items()} for kind, own in found.items()}


def pair_captions(pairs: Sequence[tuple[str, str]], each: int) -> list[Caption]:
    return [Caption(*pair) for pair in pairs for _ in range(each)]


def view_captions(each: int) -> list[Caption]:
    """Write `each` captions of every object from every view, the colours that the prior knows in turn."""
    colours = {name: [c for c in COLOURS if (name, c) not in HELD_OUT] for name in OBJECTS}
    return [
        Caption(name, own[i % len(own)], VIEWS[i // each])
        for name, own in colours.items()
        for i in range(each * len(VIEWS))
    ]


@dataclass(frozen=True)
class Question:
    """Whether images from some views show a detail, which they should or should not.

    Attributes:
        object: The images' object.
        detail: Index of its detail.
        expected: Whether it should be seen.
        views: The views that are asked about.
    """

    object: str
    detail: int
    expected: bool
    views: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.object}: {'' if self.expected else 'no '}{DETAILS[self.object][self.detail].name}"


def questions(renders: Images) -> list[Question]:
    """Ask about details that true renders from a view nearly always show, or never."""
    found = []
    for i, name in enumerate(OBJECTS):
        for k in range(2):
            seen = {
                view: renders.details[(renders.object == i) & (renders.view == v), k] == 1
                for v, view in enumerate(VIEWS)
            }
            shares = {view: hits.float().mean().item() for view, hits in seen.items()}
            always = tuple(view for view, share in shares.items() if share >= ALWAYS)
            never = tuple(view for view, share in shares.items() if share <= NEVER)
            found += [Question(name, k, True, always), Question(name, k, False, never)]
    return [question for question in found if question.views]


def answers(
    judge: Judge, images: Tensor, captions: Sequence[Caption], asked: Sequence[Question]
) -> dict[str, float]:
    """Compute the fractions of images that answer each question as expected, by the question's name.

    Args:
        judge: Predicts which details are seen.
        images: ``[n, h, w, 3]`` in [0, 1].
        captions: The images' captions, with a view.
        asked: See [`questions`][].
    """
    seen = judge.details(images, [caption.object for caption in captions]).tolist()
    return {
        question.name: fmean(
            shown[question.detail] == question.expected
            for caption, shown in zip(captions, seen, strict=True)
            if caption.object == question.object and caption.view in question.views
        )
        for question in asked
    }


@torch.no_grad()
def latent_statistics(vae: AutoencoderKL, images: Images) -> dict[str, float]:
    """Describe scaled latents of true renders, and of images that distillation starts from."""
    scale = vae.config.scaling_factor
    mean, std = encode_images(vae, images)
    generator = torch.Generator().manual_seed(0)
    starts = {
        "grey": torch.full((1, 3, 64, 64), 0.5),
        "flat_colours": torch.rand(64, 3, 1, 1, generator=generator).expand(-1, -1, 64, 64),
        "noise": torch.rand(64, 3, 64, 64, generator=generator),
    }
    return {
        "psnr": psnr(vae, images),
        "scaling_factor": scale,
        "std": float(scale * mean.std()),
        "posterior_std": float(scale * std.mean()),
        "largest": float(scale * mean.abs().max()),
        **{f"largest_of_{name}": float(_latents(vae, rgb).abs().max()) for name, rgb in starts.items()},
    }


def _latents(vae: AutoencoderKL, rgb: Tensor) -> Tensor:
    return vae.config.scaling_factor * vae.encode(2 * rgb - 1).latent_dist.mode()


@torch.no_grad()
def round_trip(
    pipeline: StableDiffusionPipeline, images: Images, captions: Sequence[Caption], steps: int
) -> float:
    """Invert images to noise by so many DDIM steps, go back by as many, without guidance; mean PSNR (dB)."""
    text, _ = pipeline.encode_prompt([c.text for c in captions], pipeline.device, 1, False)
    z = _latents(pipeline.vae, images.float)
    for scheduler in (DDIMInverseScheduler.from_config(pipeline.scheduler.config), pipeline.scheduler):
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            z = scheduler.step(pipeline.unet(z, t, text).sample, t, z).prev_sample
    return mean_psnr(pipeline.vae.decode(z / pipeline.vae.config.scaling_factor).sample, images.float)


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
    """Add a timestep's noise to renders and denoise by guided DDIM (SDEdit, Meng et al. 2022).

    Args:
        pipeline: The prior.
        images: True renders.
        captions: The images' captions.
        start: The timestep, above 0.
        guidance_scale: Guidance on the way back.
        steps: DDIM steps over all timesteps; those from `start` on are taken.
        seed: Seed of the noise.

    Returns:
        ``[n, h, w, 3]`` in [0, 1].
    """
    edit = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    edit.set_progress_bar_config(disable=True)
    edited = edit(
        [caption.text for caption in captions],
        image=_latents(pipeline.vae, images.float),
        strength=start / pipeline.scheduler.config.num_train_timesteps,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    )
    return edited.images.permute(0, 2, 3, 1).float()


@torch.no_grad()
def measure_details_kept(
    pipeline: StableDiffusionPipeline,
    classifiers: Mapping[str, Judge | Probe],
    settings: Measures,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure from which noise on samples lose what classifiers recognise objects by: see [`sdedit`][].

    Args:
        pipeline: The prior.
        classifiers: Judges and probe by name.
        settings: Amounts.
        seed: Seed of the true renders.

    Returns:
        Kind of images -> classifier -> its [`accuracy`][].
    """
    captions = pair_captions(all_pairs(), settings.per_start)
    renders = render_captions(captions, seed + 4)
    scale, steps = settings.starts_scale, settings.sampling_steps
    decoded = pipeline.vae(2 * renders.float - 1).sample
    found = {
        "true renders": renders.float.permute(0, 2, 3, 1),
        "through the autoencoder": ((decoded + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1),
        **{
            f"the same, from t = {start} back": sdedit(pipeline, renders, captions, start, scale, steps)
            for start in settings.starts
        },
        f"samples, w = {scale:g}": sample(pipeline, [caption.text for caption in captions], scale, steps),
    }
    return {
        kind: {name: accuracy(one, images, captions) for name, one in classifiers.items()}
        for kind, images in found.items()
    }


def measure_prior(
    pipeline: StableDiffusionPipeline, judges: Judges, settings: Measures, fresh: Images, seed: int
) -> dict[str, Any]:
    """Measure every figure of the model card that is about the prior.

    Args:
        pipeline: The prior.
        judges: By name.
        settings: Amounts.
        fresh: True renders that nothing was trained on.
        seed: Seed of further ones; the samples' seeds are counted from 0.
    """
    draw = partial(sample, pipeline, steps=settings.sampling_steps)
    trips = view_captions(1)[::2]
    images = render_captions(trips, seed + 3)
    return {
        "latents": latent_statistics(pipeline.vae, fresh),
        "round trips": {str(steps): round_trip(pipeline, images, trips, steps) for steps in settings.trips},
        "pairs": {f"{scale:g}": _pairs(draw, judges, settings.per_pair, scale) for scale in settings.scales},
        **_views(draw, judges, settings, questions(fresh), seed),
    }


def _pairs(draw: partial[Tensor], judges: Judges, each: int, scale: float) -> dict[str, Any]:
    found = {}
    for kind, pairs in (("seen", seen_pairs()), ("held out", held_out_pairs())):
        captions = pair_captions(pairs, each)
        images = draw([caption.text for caption in captions], scale)
        found[kind] = {name: accuracy(judge, images, captions) for name, judge in judges.items()}
    return found


def _views(
    draw: partial[Tensor], judges: Judges, settings: Measures, asked: Sequence[Question], seed: int
) -> dict[str, Any]:
    captions = view_captions(settings.per_view)
    texts = [caption.text for caption in captions]
    truth, again = (render_captions(captions, seed + k).float.permute(0, 2, 3, 1) for k in (1, 2))
    sets = {"true renders": again} | {f"w = {w:g}": draw(texts, w) for w in settings.view_scales}

    def by_judge(figure: Callable[[Judge, Tensor], Any]) -> dict[str, dict[str, Any]]:
        return {
            kind: {name: figure(judge, images) for name, judge in judges.items()}
            for kind, images in sets.items()
        }

    return {
        "views": by_judge(lambda judge, images: view_accuracy(judge, images, captions)),
        "images of views": len(captions),
        "frechet": by_judge(
            lambda judge, images: frechet_distance(*(judge.features(x).numpy() for x in (truth, images)))
        ),
        "details": by_judge(lambda judge, images: answers(judge, images, captions, asked)),
        "details asked from": {question.name: question.views for question in asked},
    }


def save_sheet(
    pipeline: StableDiffusionPipeline, path: Path, guidance_scale: float, steps: int = 50, seed: int = 0
) -> None:
    """Draw one guided DDIM sample of every object (rows) in every colour (columns)."""
    prompts = [caption.text for caption in pair_captions(all_pairs(), 1)]
    images = sample(pipeline, prompts, guidance_scale, steps, seed)
    rows = images.unflatten(0, (len(OBJECTS), len(COLOURS))).transpose(1, 2).flatten(0, 1).flatten(1, 2)
    sheet = Image.fromarray((rows * 255).round().byte().numpy())
    write_whole(path, partial(sheet.save, format="PNG", optimize=True))
