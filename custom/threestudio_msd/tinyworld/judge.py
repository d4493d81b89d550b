"""A small classifier that says what an image of the tiny world shows: object, colour, view.

It is trained on true renders only, never on what a model generates, and its own accuracy on fresh renders is
kept beside its weights, to be printed with every figure that rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..files import save_tensors, save_text
from .data import DataConfig, Images, render_images
from .training import TrainConfig, fit
from .world import COLOURS, OBJECTS, VIEWS, Caption

JUDGE_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "judge"
HEADS: dict[str, tuple[str, ...]] = {"object": OBJECTS, "colour": tuple(COLOURS), "view": VIEWS}


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in a batch: for each head the name and its probability, lists of length ``n``."""

    object: list[str]
    colour: list[str]
    view: list[str]
    object_probability: list[float]
    colour_probability: list[float]
    view_probability: list[float]

    def right(self, asked: Sequence[Caption]) -> dict[str, list[bool]]:
        """Whether the object, the colour and both are what was asked for, by ``object``, ``colour``,
        ``both``.
        """
        objects = [a.object == name for a, name in zip(asked, self.object, strict=True)]
        colours = [a.colour == name for a, name in zip(asked, self.colour, strict=True)]
        both = [a and b for a, b in zip(objects, colours, strict=True)]
        return {"object": objects, "colour": colours, "both": both}


class Judge(nn.Module):
    """A convolutional network with one head each for object, colour and view.

    Attributes:
        accuracy: Its accuracy on fresh true renders, head -> fraction, as recorded when it was trained.
    """

    def __init__(self, width: int = 24, features: int = 128) -> None:
        super().__init__()
        self.width = width
        self.accuracy: dict[str, float] = {}
        widths = (width, 2 * width, 4 * width, features)
        layers: list[nn.Module] = []
        last = 3
        for w in widths:
            for stride, size in ((2, last), (1, w)):
                layers += [nn.Conv2d(size, w, 3, stride, 1, bias=False), nn.BatchNorm2d(w), nn.SiLU()]
            last = w
        self.trunk = nn.Sequential(*layers)
        self.embed = nn.Linear(features * 4, features)
        self.heads = nn.ModuleDict({head: nn.Linear(features, len(names)) for head, names in HEADS.items()})

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
        grid = F.adaptive_avg_pool2d(self.trunk(2 * x - 1), 2)  # quadrants keep some of the layout
        return F.silu(self.embed(grid.flatten(1)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every head for images ``[n, h, w, 3]`` in [0, 1]."""
        features = self.features(images)
        return {head: layer(features) for head, layer in self.heads.items()}

    @torch.no_grad()
    def classify(self, images: Tensor) -> Verdict:
        """Names and probabilities for images ``[n, h, w, 3]`` in [0, 1].

        Example:
            >>> from threestudio_msd.tinyworld import load_judge, true_renders
            >>> load_judge().classify(true_renders("a red mug, front view", n=1)).object
            ['mug']
        """
        best = {head: logits.softmax(-1).max(-1) for head, logits in self(images).items()}
        names = {head: [HEADS[head][i] for i in found.indices.tolist()] for head, found in best.items()}
        return Verdict(
            **names, **{f"{head}_probability": found.values.tolist() for head, found in best.items()}
        )


def load_judge(folder: str | Path = JUDGE_FOLDER) -> Judge:
    """The trained judge, in evaluation mode.

    Raises:
        FileNotFoundError: If the folder holds no judge.
        ValueError: If it was trained for another world than this package's.
    """
    folder = Path(folder)
    weights, config = folder / "judge.safetensors", folder / "config.json"
    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(
                f"no judge in {folder}: {path.name} is missing (scripts/train_prior.py makes it)"
            )
    settings = json.loads(config.read_text(encoding="utf-8"))
    if {head: tuple(names) for head, names in settings["heads"].items()} != HEADS:
        raise ValueError(f"the judge in {folder} was trained for another world: {settings['heads']}")
    judge = Judge(settings["width"], settings["features"])
    judge.load_state_dict(load_file(weights))
    judge.accuracy = settings["accuracy"]
    return judge.eval().requires_grad_(False)


def save_judge(judge: Judge, folder: Path, settings: dict[str, object]) -> None:
    """Writes weights (fp16) and configuration; `settings` records how the judge was trained and measured."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_tensors(half, folder / "judge.safetensors")
    save_text(json.dumps({"heads": HEADS, **settings}, indent=2) + "\n", folder / "config.json")


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts, dims, blurs and adds noise, so that the judge reads imperfect images too; ``[b, 3, 64, 64]`` in
    [0, 1].
    """
    b = len(images)

    def chosen(share: float) -> Tensor:
        return (torch.rand(b, generator=generator) < share)[:, None, None, None]

    def level(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(b, 1, 1, 1, generator=generator)

    # each image is shifted on its own: batch statistics would tell the network one shift that all share
    shift = torch.arange(64)[:, None] + torch.randint(11, (2, 1, b), generator=generator)
    rows, columns = shift.transpose(-1, -2)
    padded = F.pad(images, (5, 5, 5, 5), mode="replicate").permute(0, 2, 3, 1)
    images = padded[torch.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    for factor in (2, 3):
        small = F.interpolate(images, scale_factor=1 / factor, mode="bilinear", antialias=True)
        images = torch.where(chosen(0.15), F.interpolate(small, (64, 64), mode="bilinear"), images)
    images = images * level(0.9, 1.08)
    noise = torch.randn(images.shape, generator=generator) * level(0.0, 0.08)
    return torch.where(chosen(0.4), images + noise, images).clamp(0, 1)


def train_judge(images: Images, config: TrainConfig, checkpoint: Path, progress: bool = True) -> Judge:
    """Trains the judge on labelled true renders."""
    torch.manual_seed(config.seed)
    judge = Judge()

    def loss(generator: torch.Generator) -> Tensor:
        batch = images[torch.randint(len(images), (config.batch,), generator=generator)]
        logits = judge(degrade(batch.float, generator).permute(0, 2, 3, 1))
        return sum(F.cross_entropy(logits[head], getattr(batch, head)) for head in HEADS)

    fit("judge", judge, loss, config, checkpoint, progress)
    return judge


@torch.no_grad()
def measure_judge(judge: Judge, views: int, seed: int, progress: bool = True) -> dict[str, float]:
    """The judge's accuracy on fresh renders, ``views`` cameras for each object, all colours in turn.

    Returns:
        Head -> fraction right, and ``"renders"``, how many were judged.
    """
    images = render_images(DataConfig(views=views, colours_per_view=1, seed=seed), progress)
    right = dict.fromkeys(HEADS, 0)
    for start in range(0, len(images), 256):
        batch = images[slice(start, start + 256)]
        logits = judge(batch.float.permute(0, 2, 3, 1))
        for head in HEADS:
            right[head] += int((logits[head].argmax(-1) == getattr(batch, head)).sum())
    return {head: count / len(images) for head, count in right.items()} | {"renders": len(images)}
