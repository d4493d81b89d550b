"""Two small networks that say what an image of the tiny world shows: object or nothing, colour, view, camera,
details.

They are trained apart from the prior, on true renders and on images of nothing in the world, never on what
a model generates. They differ in architecture, seed and augmentation, so that no method is tuned to one
network's blind spots. What each is worth on fresh images is kept beside its weights, to be printed with every
figure that rests on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from threestudio_msd.files import save_tensors, save_text
from torch import Tensor, nn

from ..assets import ASSETS
from ..training.data import Images
from ..training.loop import Loss, TrainConfig, fit_rounds, quick_precision
from ..training.negatives import KINDS, blurred, mixtures, negatives, other_objects, painted
from .details import DETAILS
from .world import COLOURS, OBJECTS, VIEWS, Reading, turn_between

JUDGES: dict[str, Path] = {"a": ASSETS / "judge", "b": ASSETS / "second-judge"}
"""Folders of the judges that ship, by name."""

NOTHING = "nothing"
"""What a judge calls an image that shows no object of the world."""

HEADS: dict[str, tuple[str, ...]] = {"object": (*OBJECTS, NOTHING), "colour": tuple(COLOURS), "view": VIEWS}
ELEVATION_CENTRE, ELEVATION_SCALE = 30.0, 40.0


@dataclass(frozen=True)
class Verdict(Reading):
    """What a judge sees in a batch: for each head the name and its probability, lists of length ``n``.

    An object may be ``"nothing"``; colour and view then mean little.
    """

    view: list[str]
    object_probability: list[float]
    colour_probability: list[float]
    view_probability: list[float]


class Convolutions(nn.Sequential):
    """3 x 3 convolutions with batch normalisation, four times halved; quadrants keep some of the layout."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        last = 3
        for w in (width, 2 * width, 4 * width, 6 * width):
            for stride, size in ((2, last), (1, w)):
                layers += [nn.Conv2d(size, w, 3, stride, 1, bias=False), nn.BatchNorm2d(w), nn.SiLU()]
            last = w
        super().__init__(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.size = 4 * last


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, size: int, width: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(size, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(size, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[n, size, h, w]`` to ``[n, width, h / stride, w / stride]``."""
        return F.relu(self.path(x) + self.shortcut(x))


class Residual(nn.Module):
    """A wide first kernel, maxima, residual blocks; pooled over the whole image, so no layout is kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Block(width, 2 * width, 1),
            Block(2 * width, 4 * width, 2),
            Block(4 * width, 4 * width, 1),
            Block(4 * width, 8 * width, 2),
        )
        self.size = 16 * width

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[n, 3, 64, 64]`` to ``[n, size]``: means and maxima over the image."""
        grid = self.layers(x).flatten(2)
        return torch.cat((grid.mean(-1), grid.amax(-1)), -1)


TRUNKS: dict[str, Callable[[int], nn.Module]] = {"convolutions": Convolutions, "residual": Residual}


class Judge(nn.Module):
    """A trunk, an embedding of the whole image, and a linear head for everything that is read.

    Args:
        trunk: One of [`TRUNKS`][].
        width: Of the trunk's first layer.
        features: Of the embedding.

    Attributes:
        record: What was recorded when it was trained: its `accuracy`, details one by one, what it took
            negatives for, its training.
    """

    def __init__(self, trunk: str, width: int, features: int = 128) -> None:
        super().__init__()
        self.record: dict[str, Any] = {}
        self.trunk = TRUNKS[trunk](width)
        self.embed = nn.Linear(self.trunk.size, features)
        sizes = {head: len(names) for head, names in HEADS.items()} | {
            "camera": 3,
            "details": 2 * len(OBJECTS),
        }
        self.heads = nn.ModuleDict({head: nn.Linear(features, size) for head, size in sizes.items()})

    @property
    def accuracy(self) -> dict[str, float]:
        """What it is worth on fresh true renders: fractions right by head and for details, and median errors
        of the camera in degrees.
        """
        return self.record["accuracy"]

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, ``[n, 128]``, for the Fréchet distance, precision and recall.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1]; resized to 64 x 64.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"the judge takes images [n, h, w, 3], not {tuple(images.shape)}")
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != (64, 64):
            x = F.interpolate(x, (64, 64), mode="bilinear", antialias=True)
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        return F.silu(self.embed(self.trunk(x)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every head for images ``[n, h, w, 3]`` in [0, 1]; ``details`` are ``[n, objects, 2]``."""
        features = self.features(images)
        logits = {head: layer(features) for head, layer in self.heads.items()}
        return logits | {"details": logits["details"].unflatten(-1, (len(OBJECTS), 2))}

    @torch.no_grad()
    def classify(self, images: Tensor) -> Verdict:
        """Names and probabilities for images ``[n, h, w, 3]`` in [0, 1].

        Example:
            >>> from msd_lab.tinyworld import load_judge, true_renders
            >>> load_judge().classify(true_renders("a red mug, front view", n=1)).object
            ['mug']
        """
        logits = self(images)
        best = {head: logits[head].softmax(-1).max(-1) for head in HEADS}
        names = {head: [HEADS[head][i] for i in found.indices.tolist()] for head, found in best.items()}
        return Verdict(
            **names, **{f"{head}_probability": found.values.tolist() for head, found in best.items()}
        )

    @torch.no_grad()
    def camera(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Azimuth in (-180, 180] and elevation of the camera in degrees, two ``[n]``.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1]. Those of a round body seen from where nothing tells its front
                have an azimuth that means nothing.
        """
        return camera_angles(self(images)["camera"])

    @torch.no_grad()
    def details(self, images: Tensor, objects: Sequence[str]) -> Tensor:
        """Whether each image shows the two details of its object, bool ``[n, 2]``.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1].
            objects: What each is an image of; see [`DETAILS`][msd_lab.tinyworld.details.DETAILS].
        """
        own = torch.tensor([OBJECTS.index(name) for name in objects])
        return self(images)["details"][torch.arange(len(own)), own] > 0


def camera_angles(read: Tensor) -> tuple[Tensor, Tensor]:
    """Azimuth in (-180, 180] and elevation in degrees, two ``[n]``, of what the head for the camera says."""
    sine, cosine, elevation = read.unbind(-1)
    return torch.rad2deg(torch.atan2(sine, cosine)), ELEVATION_CENTRE + ELEVATION_SCALE * elevation


def load_judge(name: str | Path = "a") -> Judge:
    """A trained judge, in evaluation mode.

    Args:
        name: ``"a"`` or ``"b"``, the judges that ship, or a folder.

    Raises:
        FileNotFoundError: If the folder holds no judge.
        ValueError: If it was trained for another world than this package's.
    """
    folder = JUDGES.get(str(name), Path(name))
    weights, config = folder / "judge.safetensors", folder / "config.json"
    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(
                f"no judge in {folder}: {path.name} is missing (scripts/train_prior.py makes it)"
            )
    settings = json.loads(config.read_text(encoding="utf-8"))
    if {head: tuple(names) for head, names in settings["heads"].items()} != HEADS:
        raise ValueError(f"the judge in {folder} was trained for another world: {settings['heads']}")
    judge = Judge(settings["trunk"], settings["width"], settings["features"])
    judge.load_state_dict(load_file(weights))
    judge.record = settings
    return judge.eval().requires_grad_(False)


def save_judge(judge: Judge, folder: Path, settings: dict[str, object]) -> None:
    """Writes weights (fp16) and configuration; `settings` records how the judge was trained and measured."""
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_tensors(half, folder / "judge.safetensors")
    save_text(json.dumps({"heads": HEADS, **settings}, indent=2) + "\n", folder / "config.json")


def _chosen(share: float, n: int, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) < share)[:, None, None, None]


def _level(low: float, high: float, n: int, generator: torch.Generator, channels: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(n, channels, 1, 1, generator=generator)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts, dims, blurs and adds noise, so that a judge reads imperfect images too; ``[b, 3, 64, 64]`` in
    [0, 1].
    """
    b = len(images)
    # each image is shifted on its own: batch statistics would tell the network one shift that all share
    shift = torch.arange(64)[:, None] + torch.randint(11, (2, 1, b), generator=generator)
    rows, columns = shift.transpose(-1, -2)
    padded = F.pad(images, (5, 5, 5, 5), mode="replicate").permute(0, 2, 3, 1)
    images = padded[torch.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    for factor in (2, 3):
        small = F.interpolate(images, scale_factor=1 / factor, mode="bilinear", antialias=True)
        images = torch.where(
            _chosen(0.15, b, generator), F.interpolate(small, (64, 64), mode="bilinear"), images
        )
    images = images * _level(0.9, 1.08, b, generator)
    noise = torch.randn(images.shape, generator=generator) * _level(0.0, 0.08, b, generator)
    return torch.where(_chosen(0.4, b, generator), images + noise, images).clamp(0, 1)


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Zooms, moves, leans, smooths and tints, otherwise than [`degrade`][]; ``[b, 3, 64, 64]`` in [0, 1]."""
    b = len(images)
    zoom, lean, x, y = (
        _level(low, high, b, generator).flatten()
        for low, high in ((0.85, 1.2), (-0.12, 0.12), (-0.15, 0.15), (-0.15, 0.15))
    )
    rows = (zoom * lean.cos(), -zoom * lean.sin(), x, zoom * lean.sin(), zoom * lean.cos(), y)
    grid = F.affine_grid(torch.stack(rows, -1).view(b, 2, 3), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.where(_chosen(0.3, b, generator), smooth, images)
    images = images.clamp_min(1e-3) ** _level(0.85, 1.15, b, generator) * _level(0.93, 1.05, b, generator, 3)
    coarse = F.interpolate(torch.randn(b, 3, 16, 16, generator=generator), (64, 64), mode="bilinear")
    stained = images + coarse * _level(0.0, 0.08, b, generator)
    return torch.where(_chosen(0.3, b, generator), stained, images).clamp(0, 1)


Augmentation = Callable[[Tensor, torch.Generator], Tensor]
AUGMENTATIONS: dict[str, Augmentation] = {
    "degrade": degrade,
    "disturb": disturb,
}


PARTS: dict[str, float] = {
    "ball": 0.4, "ellipsoid": 0.5, "box": 1.0, "cylinder": 1.0, "blob": 1.2, "noise": 0.3, "flat": 0.2,
}  # fmt: skip
"""How many painted negatives are of each kind, relative to each other: more of what is hard to tell."""


@dataclass(frozen=True)
class Round:
    """A part of a judge's training.

    Attributes:
        training: Steps and rates.
        mixed: Mixtures in a batch.
        blurs: Blurs in a batch.
        painted: Other negatives in a batch.
        bank: How many of those are painted for the round, of a kind whose part in [`PARTS`][] is 1.
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
        trunk: One of [`TRUNKS`][].
        width: Of its first layer.
        augmentation: One of [`AUGMENTATIONS`][].
        rounds: Its training, one after the other.
        seed: Of everything; stands for the seeds of the rounds.
        features: Of the embedding.
    """

    trunk: str
    width: int
    augmentation: str
    rounds: tuple[Round, ...]
    seed: int = 0
    features: int = 128


def train_judge(images: Images, config: JudgeConfig, folder: Path, progress: bool = True) -> Judge:
    """Trains a judge on labelled true renders and on negatives.

    Args:
        images: The renders.
        config: The judge.
        folder: Where the state of each round is kept, to resume from.
        progress: Whether to show a bar.
    """
    torch.manual_seed(config.seed)
    judge = Judge(config.trunk, config.width, config.features).to(memory_format=torch.channels_last)
    augment = AUGMENTATIONS[config.augmentation]
    seeded = [
        replace(part, training=replace(part.training, seed=config.seed + 500 * k))
        for k, part in enumerate(config.rounds)
    ]
    rounds = ((part.training, _loss(judge, images, augment, part)) for part in seeded)
    fit_rounds(f"judge of {config.trunk}", judge, rounds, folder, progress)
    return judge


def _loss(judge: Judge, images: Images, augment: Augmentation, part: Round) -> Loss:
    """The loss of a random batch of a round."""
    real = part.training.batch - part.mixed - part.blurs - part.painted

    @cache  # a round that is done paints none
    def bank() -> Tensor:
        source = torch.Generator().manual_seed(part.training.seed)
        counts = {kind: max(1, round(part.bank * share)) for kind, share in PARTS.items()}
        return torch.cat([(255 * painted(kind, n, source)).round().byte() for kind, n in counts.items()])

    def loss(generator: torch.Generator) -> Tensor:
        batch = images[torch.randint(len(images), (real + part.mixed,), generator=generator)]
        rgb, own = batch.float, batch[:real]
        partner = other_objects(batch.object[-part.mixed :], batch.object, generator)
        nothing = torch.cat(
            (
                bank()[torch.randint(len(bank()), (part.painted,), generator=generator)].float() / 255,
                blurred(rgb[torch.randperm(real, generator=generator)[: part.blurs]], generator),
                mixtures(rgb[-part.mixed :], rgb[partner], generator),
            )
        )
        seen = augment(torch.cat((rgb[:real], nothing)), generator)
        with quick_precision():
            logits = judge(seen.permute(0, 2, 3, 1))
        return judge_loss({head: found.float() for head, found in logits.items()}, own)

    return loss


def judge_loss(logits: dict[str, Tensor], truth: Images) -> Tensor:
    """Cross entropies of the heads, nearly absolute errors of the camera, and the details that can be told.

    Args:
        logits: Of true renders, followed by images of nothing.
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
    """What a judge is worth on true renders that it was not trained on.

    Returns:
        ``accuracy``: fractions right by head and of ``details``; ``azimuth`` and ``elevation``, median errors
        in degrees where the form tells them, ``azimuth_untold`` where a round body shows no detail;
        ``renders``, how many were judged. ``details``: fractions right by object and detail.
    """
    parts = [judge(images[slice(i, i + 256)].float.permute(0, 2, 3, 1)) for i in range(0, len(images), 256)]
    logits = {head: torch.cat([part[head] for part in parts]) for head in parts[0]}
    right = {head: (logits[head].argmax(-1) == getattr(images, head)).float().mean().item() for head in HEADS}
    azimuth, elevation = camera_angles(logits["camera"])
    error, risen = turn_between(azimuth, images.azimuth), (elevation - images.elevation).abs()
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
        "azimuth": error[images.turned].median().item(),
        "azimuth_untold": error[~images.turned].median().item() if (~images.turned).any() else None,
        "elevation": risen.median().item(),
        "renders": len(images),
    }
    return {"accuracy": accuracy, "details": details}


def _mean(hits: Tensor) -> float | None:
    return hits.float().mean().item() if len(hits) else None


def confusion(judge: Judge, images: Images, each: int, seed: int) -> dict[str, dict[str, int]]:
    """What a judge takes fresh negatives for.

    Args:
        judge: The judge.
        images: True renders to make some of them from.
        each: How many of each kind.
        seed: Of the negatives.

    Returns:
        Kind -> name that was read -> how often, the most frequent first.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for kind in KINDS:
        shown = negatives(kind, each, images, generator).permute(0, 2, 3, 1)
        found[kind] = dict(Counter(judge.classify(shown).object).most_common())
    return found


def measured(judge: Judge, config: JudgeConfig, images: Images, each: int, seed: int) -> dict[str, Any]:
    """Everything that is recorded beside a judge's weights; see [`measure_judge`][] and [`confusion`][]."""
    settings = {key: value for key, value in asdict(config).items() if key in ("trunk", "width", "features")}
    return {
        **settings,
        **measure_judge(judge, images),
        "negatives": confusion(judge, images, each, seed),
        "training": asdict(config),
    }
