"""Trains and measures the classifiers of the tiny world: the two judges, and the probe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tinyworld.details import DETAILS
from ..tinyworld.judge import ELEVATION_CENTRE, ELEVATION_SCALE, HEADS, Judge, camera_angles
from ..tinyworld.probe import Probe, backbone_features, load_backbone
from ..tinyworld.world import OBJECTS, VOCABULARY, turn_between
from .data import Images, chosen, uniform
from .loop import Loss, TrainConfig, fit_rounds, quick_precision
from .negatives import KINDS, PAINTERS, blurred, mixtures, negatives, other_objects

# of the probe's logistic regression
INVERSE_PENALTY = 0.01


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, dim, blur and add noise, so that a judge reads imperfect images too.

    Args:
        images: ``[b, 3, 64, 64]`` in [0, 1]; so are the returned ones.
        generator: The source of randomness.
    """
    b = len(images)
    # each image has its own shift: batch statistics would show the network one that all share
    shift = torch.arange(64)[:, None] + torch.randint(11, (2, 1, b), generator=generator)
    rows, columns = shift.transpose(-1, -2)
    padded = F.pad(images, (5, 5, 5, 5), mode="replicate").permute(0, 2, 3, 1)
    images = padded[torch.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    for factor in (2, 3):
        small = F.interpolate(images, scale_factor=1 / factor, mode="bilinear", antialias=True)
        coarse = chosen(0.15, b, generator)
        images = torch.where(coarse, F.interpolate(small, (64, 64), mode="bilinear"), images)
    images = images * uniform(generator, 0.9, 1.08, b, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator) * uniform(generator, 0.0, 0.08, b, 1, 1, 1)
    return torch.where(chosen(0.4, b, generator), images + noise, images).clamp(0, 1)


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Zoom, move, lean, smooth and tint: other changes than those of [`degrade`][], of the same arguments."""
    b = len(images)
    ranges = ((0.85, 1.2), (-0.12, 0.12), (-0.15, 0.15), (-0.15, 0.15))
    zoom, lean, x, y = (uniform(generator, low, high, b) for low, high in ranges)
    rows = (zoom * lean.cos(), -zoom * lean.sin(), x, zoom * lean.sin(), zoom * lean.cos(), y)
    grid = F.affine_grid(torch.stack(rows, -1).view(b, 2, 3), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.where(chosen(0.3, b, generator), smooth, images)
    images = images.clamp_min(1e-3) ** uniform(generator, 0.85, 1.15, b, 1, 1, 1)
    images = images * uniform(generator, 0.93, 1.05, b, 3, 1, 1)
    stains = F.interpolate(torch.randn(b, 3, 16, 16, generator=generator), (64, 64), mode="bilinear")
    stained = images + stains * uniform(generator, 0.0, 0.08, b, 1, 1, 1)
    return torch.where(chosen(0.3, b, generator), stained, images).clamp(0, 1)


Augmentation = Callable[[Tensor, torch.Generator], Tensor]
AUGMENTATIONS: dict[str, Augmentation] = {"degrade": degrade, "disturb": disturb}
# relative numbers of painted negatives by kind: more of those that are hard to classify
PARTS: dict[str, float] = {
    "ball": 0.4, "ellipsoid": 0.5, "box": 1.0, "cylinder": 1.0, "blob": 1.2, "noise": 0.3, "flat": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class JudgeRound:
    """A part of a judge's training.

    Attributes:
        training: Steps and rates.
        mixed: Mixtures in a batch.
        blurs: Blurs in a batch.
        painted: Other negatives in a batch.
        bank: Number of those painted for the round, of a kind whose part in [`PARTS`][]
            is 1.
    """

    training: TrainConfig
    mixed: int = 9
    blurs: int = 3
    painted: int = 14
    bank: int = 1200


@dataclass(frozen=True)
class JudgeConfig:
    """A judge and its training.

    Attributes:
        trunk: One of [`TRUNKS`][msd_lab.tinyworld.judge.TRUNKS].
        width: Channels of its first layer.
        augmentation: One of [`AUGMENTATIONS`][].
        rounds: Its training, one after the other.
        seed: Seed of everything, in place of the rounds' own.
        features: Size of the embedding.
    """

    trunk: str
    width: int
    augmentation: str
    rounds: tuple[JudgeRound, ...]
    seed: int = 0
    features: int = 128


def train_judge(images: Images, config: JudgeConfig, states: Path) -> Judge:
    """Train a judge on labelled true renders and on negatives.

    Args:
        images: The renders.
        config: The judge.
        states: Folder of the rounds' states, to resume from.
    """
    torch.manual_seed(config.seed)
    judge = Judge(config.trunk, config.width, config.features).to(memory_format=torch.channels_last)
    seeded = [
        replace(part, training=replace(part.training, seed=config.seed + 500 * k))
        for k, part in enumerate(config.rounds)
    ]
    augment = AUGMENTATIONS[config.augmentation]
    rounds = ((part.training, _round_loss(judge, images, augment, part)) for part in seeded)
    fit_rounds(f"judge of {config.trunk}", judge, rounds, states)
    return judge


def _round_loss(judge: Judge, images: Images, augment: Augmentation, part: JudgeRound) -> Loss:
    real = part.training.batch - part.mixed - part.blurs - part.painted

    @cache  # a round that is done paints none
    def bank() -> Tensor:
        source = torch.Generator().manual_seed(part.training.seed)
        counts = {kind: max(1, round(part.bank * share)) for kind, share in PARTS.items()}
        return torch.cat([(255 * PAINTERS[kind](n, source)).round().byte() for kind, n in counts.items()])

    def loss(generator: torch.Generator) -> Tensor:
        batch = images[torch.randint(len(images), (real + part.mixed,), generator=generator)]
        rgb, mixed = batch.float, slice(real, None)
        partner = other_objects(batch.object[mixed], batch.object, generator)
        parts = (
            rgb[:real],
            bank()[torch.randint(len(bank()), (part.painted,), generator=generator)].float() / 255,
            blurred(rgb[torch.randperm(real, generator=generator)[: part.blurs]], generator),
            mixtures(rgb[mixed], rgb[partner], generator),
        )
        seen = augment(torch.cat(parts), generator)
        with quick_precision():
            logits = judge(seen.permute(0, 2, 3, 1))
        return judge_loss({head: found.float() for head, found in logits.items()}, batch[:real])

    return loss


def judge_loss(logits: dict[str, Tensor], truth: Images) -> Tensor:
    """Add the heads' cross entropies, the camera's nearly absolute error, and that of known details.

    Args:
        logits: Logits of true renders, followed by those of images of nothing.
        truth: Labels of the former.
    """
    n = len(truth)
    objects = torch.full((len(logits["object"]),), len(OBJECTS))
    objects[:n] = truth.object
    loss = F.cross_entropy(logits["object"], objects)
    for head in ("colour", "view"):
        loss = loss + F.cross_entropy(logits[head][:n], getattr(truth, head))
    azimuth = torch.deg2rad(truth.azimuth)
    elevation = (truth.elevation - ELEVATION_CENTRE) / ELEVATION_SCALE
    camera = torch.stack((azimuth.sin(), azimuth.cos(), elevation), -1)
    loss = loss + 4 * F.smooth_l1_loss(logits["camera"][:n], camera, beta=0.1)
    own = logits["details"][torch.arange(n), truth.object]
    known = truth.details >= 0
    return loss + F.binary_cross_entropy_with_logits(own[known], truth.details[known].float())


@torch.no_grad()
def measure_judge(judge: Judge, images: Images) -> dict[str, Any]:
    """Measure a judge on true renders that it was not trained on.

    Returns:
        ``accuracy``: fractions right by head and of ``details``; ``azimuth`` and
        ``elevation``, median errors in degrees where the form shows them,
        ``azimuth_untold`` where a round body shows no detail; ``renders``, the number
        of images. ``details``: fractions right by object and detail.
    """
    parts = [judge(images[slice(i, i + 256)].float.permute(0, 2, 3, 1)) for i in range(0, len(images), 256)]
    logits = {head: torch.cat([part[head] for part in parts]) for head in parts[0]}
    right = {head: _mean(logits[head].argmax(-1) == getattr(images, head)) for head in HEADS}
    azimuth, elevation = camera_angles(logits["camera"])
    error, turned = turn_between(azimuth, images.azimuth), images.turned
    found = (logits["details"][torch.arange(len(images)), images.object] > 0) == (images.details == 1)
    known = images.details >= 0
    details = {
        name: {
            detail.name: _mean(found[:, k][(images.object == i) & known[:, k]])
            for k, detail in enumerate(DETAILS[name])
        }
        for i, name in enumerate(OBJECTS)
    }
    accuracy = {
        **right,
        "details": _mean(found[known]),
        "azimuth": error[turned].median().item(),
        "azimuth_untold": error[~turned].median().item() if (~turned).any() else None,
        "elevation": (elevation - images.elevation).abs().median().item(),
        "renders": len(images),
    }
    return {"accuracy": accuracy, "details": details}


def _mean(hits: Tensor) -> float | None:
    return hits.float().mean().item() if len(hits) else None


def confusion(judge: Judge, images: Images, each: int, seed: int) -> dict[str, dict[str, int]]:
    """Classify fresh negatives.

    Args:
        judge: The judge.
        images: True renders to make blurs and mixtures from.
        each: Number of negatives of each kind.
        seed: Seed of the negatives.

    Returns:
        Kind -> predicted name -> count, the most frequent first.
    """
    generator = torch.Generator().manual_seed(seed)
    shown = {kind: negatives(kind, each, images, generator).permute(0, 2, 3, 1) for kind in KINDS}
    return {kind: dict(Counter(judge.classify(one).object).most_common()) for kind, one in shown.items()}


def record_of(judge: Judge, config: JudgeConfig, fresh: Images, each: int, seed: int) -> dict[str, Any]:
    return {
        **{"trunk": config.trunk, "width": config.width, "features": config.features},
        **measure_judge(judge, fresh),
        "negatives": confusion(judge, fresh, each, seed),
        "training": asdict(config),
    }


def train_probe(images: Images, fresh: Images) -> Probe:
    """Fit the probe to true renders by logistic regression, and measure it on fresh ones.

    Raises:
        UserError: The backbone is not installed.
    """
    from sklearn.linear_model import LogisticRegression

    backbone = load_backbone()
    known = backbone_features(backbone, images.float)
    mean, std = known.mean(0), known.std(0) + 1e-6
    heads: dict[str, Tensor] = {}
    for head in VOCABULARY:
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=500)
        model.fit(((known - mean) / std).numpy(), getattr(images, head).numpy())
        weight = (torch.from_numpy(model.coef_).float() / std).contiguous()
        heads |= {
            f"{head}.weight": weight,
            f"{head}.bias": torch.from_numpy(model.intercept_).float() - weight @ mean,
        }
    probe = Probe(backbone, heads, {})
    right = probe.read(backbone_features(backbone, fresh.float)).right(fresh.captions)
    return replace(probe, accuracy={head: fmean(right[head]) for head in VOCABULARY})
