"""The judges: two small classifiers of the tiny world's images.

They predict the object or nothing, its colour, the view, the camera and the details.

They are trained apart from the prior, on true renders and on images of nothing in the
world, never on generated images. They differ in architecture, seed and augmentation, so
that no method is tuned to one network's blind spots. Each ships with its accuracy on
fresh images, which is printed with every figure that rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from threestudio_msd.files import save_tensors, save_text
from torch import Tensor, nn

from ..assets import ASSETS
from .world import COLOURS, OBJECTS, VIEWS, Prediction

# folders of the judges that ship, by name
JUDGES: dict[str, Path] = {"a": ASSETS / "judge", "b": ASSETS / "second-judge"}

# the class of images that show no object of the world
NOTHING = "nothing"

HEADS: dict[str, tuple[str, ...]] = {"object": (*OBJECTS, NOTHING), "colour": tuple(COLOURS), "view": VIEWS}
ELEVATION_CENTRE, ELEVATION_SCALE = 30.0, 40.0


class Convolutions(nn.Sequential):
    """3 x 3 convolutions with batch normalisation, four times halved; quadrants keep some of the layout."""

    def __init__(self, width: int) -> None:
        widths = [width * times for times in (1, 1, 2, 2, 4, 4, 6, 6)]
        layers = [
            (nn.Conv2d(size, w, 3, 2 - i % 2, 1, bias=False), nn.BatchNorm2d(w), nn.SiLU())
            for i, (size, w) in enumerate(pairwise((3, *widths)))
        ]
        super().__init__(*chain(*layers), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.size = 4 * widths[-1]


class Block(nn.Module):
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
        return F.relu(self.path(x) + self.shortcut(x))


class Residual(nn.Module):
    """A wide first kernel, maxima, residual blocks; means and maxima over the image, so no layout is kept."""

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
        grid = self.layers(x).flatten(2)
        return torch.cat((grid.mean(-1), grid.amax(-1)), -1)


TRUNKS: dict[str, Callable[[int], nn.Module]] = {"convolutions": Convolutions, "residual": Residual}


class Judge(nn.Module):
    """A trunk, an embedding of the whole image, and a linear head for everything that is predicted.

    Args:
        trunk: One of [`TRUNKS`][].
        width: Channels of the trunk's first layer.
        features: Size of the embedding.

    Attributes:
        record: Its configuration file: accuracy, details one by one, errors on
            negatives, training.
    """

    def __init__(self, trunk: str, width: int, features: int = 128) -> None:
        super().__init__()
        self.record: dict[str, Any] = {}
        self.trunk = TRUNKS[trunk](width)
        self.embed = nn.Linear(self.trunk.size, features)
        sizes = {head: len(names) for head, names in HEADS.items()}
        sizes |= {"camera": 3, "details": 2 * len(OBJECTS)}
        self.heads = nn.ModuleDict({head: nn.Linear(features, size) for head, size in sizes.items()})

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy on fresh true renders by head, and median errors of the camera in degrees."""
        return self.record["accuracy"]

    def features(self, images: Tensor) -> Tensor:
        """Compute penultimate features, for the Fréchet distance, precision and recall.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1]; resized to 64 x 64.

        Returns:
            ``[n, 128]``.

        Raises:
            ValueError: The images have another layout.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"the judge takes images [n, h, w, 3], not {tuple(images.shape)}")
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != (64, 64):
            x = F.interpolate(x, (64, 64), mode="bilinear", antialias=True)
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        return F.silu(self.embed(self.trunk(x)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute every head's logits for images ``[n, h, w, 3]``; ``details`` are ``[n, objects, 2]``."""
        features = self.features(images)
        logits = {head: layer(features) for head, layer in self.heads.items()}
        return logits | {"details": logits["details"].unflatten(-1, (len(OBJECTS), 2))}

    @torch.no_grad()
    def classify(self, images: Tensor) -> Prediction:
        """Predict object, colour and view of images ``[n, h, w, 3]`` in [0, 1].

        Example:
            >>> from msd_lab.tinyworld.render import true_renders
            >>> load_judge().classify(true_renders("a red mug, front view", n=1)).object
            ['mug']
        """
        logits = self(images)
        return Prediction(*([names[i] for i in logits[head].argmax(-1)] for head, names in HEADS.items()))

    @torch.no_grad()
    def camera(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the camera's azimuth in (-180, 180] and elevation, degrees, two ``[n]``.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1]. The azimuth of a round body is arbitrary
                where no detail of it is in sight.
        """
        return camera_angles(self(images)["camera"])

    @torch.no_grad()
    def details(self, images: Tensor, objects: Sequence[str]) -> Tensor:
        """Predict whether each image shows the two details of its object, bool ``[n, 2]``.

        Args:
            images: ``[n, h, w, 3]`` in [0, 1].
            objects: The images' objects; see
                [`DETAILS`][msd_lab.tinyworld.details.DETAILS].
        """
        own = torch.tensor([OBJECTS.index(name) for name in objects])
        return self(images)["details"][torch.arange(len(own)), own] > 0


def camera_angles(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Convert the head ``camera`` ``[n, 3]`` to azimuth and elevation in degrees, two ``[n]``."""
    sine, cosine, elevation = logits.unbind(-1)
    return torch.rad2deg(torch.atan2(sine, cosine)), ELEVATION_CENTRE + ELEVATION_SCALE * elevation


def load_judge(name: str | Path = "a") -> Judge:
    """Load a trained judge, in evaluation mode.

    Args:
        name: ``"a"`` or ``"b"``, the judges that ship, or a folder.

    Raises:
        FileNotFoundError: The folder holds no judge.
        ValueError: It was trained for another world than this package's.
    """
    folder = JUDGES.get(str(name), Path(name))
    weights, config = folder / "judge.safetensors", folder / "config.json"
    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(
                f"no judge in {folder}: {path.name} is missing (scripts/train_prior.py makes it)"
            )
    record = json.loads(config.read_text(encoding="utf-8"))
    if {head: tuple(names) for head, names in record["heads"].items()} != HEADS:
        raise ValueError(f"the judge in {folder} was trained for another world: {record['heads']}")
    judge = Judge(record["trunk"], record["width"], record["features"])
    judge.load_state_dict(load_file(weights))
    judge.record = record
    return judge.eval().requires_grad_(False)


def save_judge(judge: Judge, folder: Path, record: dict[str, object]) -> None:
    """Write weights (fp16) and the configuration with the record of training and measuring."""
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_tensors(half, folder / "judge.safetensors")
    save_text(json.dumps({"heads": HEADS, **record}, indent=2) + "\n", folder / "config.json")
