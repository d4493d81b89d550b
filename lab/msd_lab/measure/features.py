"""Feature extractors: images `[N, H, W, 3]` in [0, 1] to `[N, D]`. Siblings: judges, probe, Inception, CLIP.

The judges ship with the package and work offline. Inception and CLIP take their weights from the hub or a
local path.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from threestudio_msd.errors import UserError, did_you_mean, first_line
from torch import Tensor

from ..assets import ASSETS
from ..tinyworld.judge import load_judge
from ..tinyworld.probe import PROBE, SIZE, Probe
from ..tinyworld.world import Caption, Reading, parse_prompt

CLIP_MODEL = "openai/clip-vit-large-patch14"
BATCH = 64


class Features(Protocol):
    """An extractor.

    Attributes:
        description: Layer, size and resize mode, to be printed beside every figure.
    """

    description: str

    def __call__(self, images: Tensor) -> np.ndarray:
        """Features of images `[N, H, W, 3]` in [0, 1]: `[N, D]`."""

    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """How well each image shows its prompt, by name of figure, `[N]` each; empty where it cannot tell."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise a `UserError` for a prompt that `alignment` could not read."""


class Reader:
    """What reads the tiny world's objects and colours; a subclass says how, `_read`.

    Attributes:
        name: As `--features` names it.
    """

    name: str

    def _read(self, images: Tensor) -> Reading:
        raise NotImplementedError

    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """1 where it reads the object, the colour, both; see `Features`.

        Raises:
            UserError: If a prompt is not of the tiny world.
        """
        right = self._read(images).right([self._asked(prompt) for prompt in prompts])
        found = {name: np.array(hits, dtype=float) for name, hits in right.items()}
        return {"alignment": found["both"], "object": found["object"], "colour": found["colour"]}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """See `Features`."""
        for prompt in prompts:
            self._asked(prompt)

    def _asked(self, prompt: str) -> Caption:
        try:
            return parse_prompt(prompt)
        except ValueError as error:
            raise UserError(f"features {self.name}: {error}") from error


class JudgeFeatures(Reader):
    """The tiny world's judge: its penultimate layer, and whether it reads object and colour as asked.

    Args:
        weights: Folder of a judge; the one of this name that ships by default.

    Raises:
        UserError: If there is no judge.
    """

    name = "judge"

    def __init__(self, weights: str | None = None) -> None:
        try:
            self.judge = load_judge(weights or ASSETS / self.name)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(f"features {self.name}: {first_line(error)}") from error
        own = ", ".join(f"{head} {100 * self.judge.accuracy[head]:.1f} %" for head in ("object", "colour"))
        self.description = (
            f"tiny-world {self.name}, penultimate layer, 64 px bilinear "
            f"(its accuracy on fresh renders: {own})"
        )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        """See `Features`."""
        return np.concatenate([self.judge.features(batch).numpy() for batch in images.split(BATCH)])

    def _read(self, images: Tensor) -> Reading:
        return self.judge.classify(images)


class SecondJudgeFeatures(JudgeFeatures):
    """A judge trained apart from the first, so that no figure hangs on one's blind spots; see there."""

    name = "second-judge"


class ProbeFeatures(Reader):
    """A linear probe on ImageNet features, which reads object and colour but knows no "nothing"; see
    `tinyworld.probe`.

    Args:
        weights: File of a probe; the one that ships by default.

    Raises:
        UserError: If there is none, or its backbone is not installed.
    """

    name = "probe"

    def __init__(self, weights: str | None = None) -> None:
        try:
            self.probe = Probe.load(Path(weights or ASSETS / PROBE))
        except (OSError, KeyError, SafetensorError) as error:
            raise UserError(f"features {self.name}: {first_line(error)}") from error
        own = ", ".join(f"{head} {100 * part:.1f} %" for head, part in self.probe.accuracy.items())
        self.description = (
            f"linear probe on EfficientNet-Lite0's ImageNet features, {SIZE} px bilinear "
            f"(its accuracy on fresh renders: {own})"
        )

    def __call__(self, images: Tensor) -> np.ndarray:
        """See `Features`."""
        return self.probe.features(images).numpy()

    def _read(self, images: Tensor) -> Reading:
        return self.probe.read(self.probe.features(images))


class CLIPFeatures:
    """CLIP's image embedding, and its cosine to the prompt's times 100 (CLIP-SIM of the paper's Table 4).

    Args:
        weights: Hub id or folder; ViT-L/14 by default.

    Raises:
        UserError: If the model cannot be loaded.
    """

    def __init__(self, weights: str | None = None) -> None:
        from transformers import CLIPModel, CLIPTokenizerFast

        model = weights or CLIP_MODEL
        try:
            self.model = CLIPModel.from_pretrained(model, use_safetensors=True).eval()
            self.tokenizer = CLIPTokenizerFast.from_pretrained(model)
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(
                f"features clip: {model} cannot be loaded ({first_line(error)}). "
                f"Download it with `hf download {model}`, or name a local folder: --features clip=PATH."
            ) from error
        self.size = self.model.config.vision_config.image_size
        self.description = f"{model}, image embedding, {self.size} px bicubic with antialiasing"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        """See `Features`; embeddings have unit length."""
        mean, std = torch.tensor([0.4815, 0.4578, 0.4082]), torch.tensor([0.2686, 0.2613, 0.2758])
        rows = []
        for batch in images.split(BATCH):
            pixels = _resized(batch, self.size, "bicubic").clamp(0, 1)
            pixels = (pixels - mean[:, None, None]) / std[:, None, None]
            rows.append(F.normalize(_pooled(self.model.get_image_features(pixel_values=pixels)), dim=-1))
        return torch.cat(rows).numpy()

    @torch.no_grad()
    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """CLIP similarity: cosine x 100; see `Features`."""
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        texts = F.normalize(_pooled(self.model.get_text_features(**tokens)), dim=-1)
        return {"clip_similarity": 100 * (torch.from_numpy(self(images)) * texts).sum(-1).numpy()}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Any will do: CLIP cuts what is too long; see `Features`."""


class InceptionFeatures:
    """Inception-v3's 2048-dimensional pooling layer, as FID is defined on, by torch-fidelity.

    Args:
        weights: A local file of torch-fidelity's `pt_inception-2015-12-05` weights; downloaded by default.

    Raises:
        UserError: If torch-fidelity is missing or the weights cannot be had.
    """

    description = "Inception-v3 (2015-12-05, TensorFlow's), pool 2048, 299 px bilinear as TensorFlow 1"

    def __init__(self, weights: str | None = None) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import (
                URL_INCEPTION_V3,
                FeatureExtractorInceptionV3,
            )
        except ImportError as error:
            raise UserError(
                f"features inception: {error}. Install it with `pip install torch-fidelity`."
            ) from error
        try:
            # torch-fidelity would run code that a file of weights may hold: this refuses such a file first
            if weights is None:
                torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, map_location="cpu", weights_only=True)
            else:
                torch.load(weights, map_location="cpu", weights_only=True)
            self.network = FeatureExtractorInceptionV3(
                "inception", ["2048"], feature_extractor_weights_path=weights
            )
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(
                f"features inception: the weights cannot be loaded ({first_line(error)}). "
                "Name a local copy of pt_inception-2015-12-05-6726825d.pth: --features inception=PATH."
            ) from error

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        """See `Features`."""
        batches = (images.permute(0, 3, 1, 2) * 255).round().to(torch.uint8).split(BATCH)
        return torch.cat([self.network(batch)[0] for batch in batches]).numpy()

    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """None: Inception does not read; see `Features`."""
        return {}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Any will do: none is read; see `Features`."""


FEATURES: dict[str, type] = {
    "judge": JudgeFeatures,
    "second-judge": SecondJudgeFeatures,
    "probe": ProbeFeatures,
    "inception": InceptionFeatures,
    "clip": CLIPFeatures,
}


def read_features(words: Sequence[str]) -> dict[str, Features]:
    """Extractors from a command line, by name: `NAME` or `NAME=WEIGHTS` each.

    Raises:
        UserError: A name is unknown or comes twice, or an extractor's weights cannot be had.

    Example:
        >>> list(read_features(["judge"]))
        ['judge']
    """
    found: dict[str, Features] = {}
    for word in words:
        name, equals, weights = word.partition("=")
        if name not in FEATURES:
            raise UserError(
                f"--features: expected one of {', '.join(FEATURES)}, got {name!r}"
                f"{did_you_mean(name, FEATURES)}"
            )
        if name in found:
            raise UserError(f"--features: {name} is given twice")
        if equals and not weights:
            raise UserError(f"--features: expected {name}=WEIGHTS, got none")
        found[name] = FEATURES[name](weights or None)
    return found


def _resized(images: Tensor, size: int, mode: str) -> Tensor:
    """`[N, H, W, 3]` to `[N, 3, size, size]`."""
    return F.interpolate(images.permute(0, 3, 1, 2), (size, size), mode=mode, antialias=True)


def _pooled(output: object) -> Tensor:
    """The embedding, which transformers returns bare or, since version 5, as `pooler_output`."""
    return output if isinstance(output, Tensor) else output.pooler_output
