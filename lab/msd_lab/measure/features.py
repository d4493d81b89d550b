"""Feature extractors: images `[N, H, W, 3]` in [0, 1] to `[N, D]`. Siblings: judges,
probe, Inception, CLIP.

The judges ship with the package and work offline. Inception and CLIP take their weights
from the hub or a local path.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from threestudio_msd.errors import UserError, did_you_mean, first_line
from torch import Tensor

from ..assets import ASSETS
from ..tinyworld.judge import load_judge
from ..tinyworld.probe import PROBE, SIZE, Probe
from ..tinyworld.world import Caption, Prediction, parse_prompt
from .instruments import INCEPTION, load_inception, load_lpips

CLIP_MODEL = "openai/clip-vit-large-patch14"
CLIP_COLOURS = (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)  # mean and deviation
BATCH = 64
LPIPS = "lpips"


class Features:
    """An extractor.

    Attributes:
        description: Layer, size and resize mode, to be printed beside every figure.
    """

    description: str

    def __call__(self, images: Tensor) -> np.ndarray:
        """Features of images `[N, H, W, 3]` in [0, 1]: `[N, D]`."""
        raise NotImplementedError

    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """How well each image shows its prompt, by name of figure, `[N]` each; empty
        where it cannot tell.

        Raises:
            UserError: It cannot read a prompt.
        """
        return {}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise a `UserError` for a prompt that `alignment` could not read."""


@contextmanager
def loading(name: str, advice: str = "") -> Iterator[None]:
    """Turn what missing or damaged weights raise into a `UserError` that names the
    extractor.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise UserError(f"features {name}: {first_line(error)}{advice}") from error


class WorldFeatures(Features):
    """Features of a model that names the tiny world's objects and colours; a subclass
    has `_predict`.

    Attributes:
        name: As `--features` names it.
    """

    name: str

    def _predict(self, images: Tensor) -> Prediction:
        raise NotImplementedError

    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        right = self._predict(images).right(self._captions(prompts))
        found = {name: np.array(hits, dtype=float) for name, hits in right.items()}
        return {"alignment": found["both"], "object": found["object"], "colour": found["colour"]}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        self._captions(prompts)

    def _captions(self, prompts: Sequence[str]) -> list[Caption]:
        try:
            return [parse_prompt(prompt) for prompt in prompts]
        except ValueError as error:
            raise UserError(f"features {self.name}: {error}") from error

    def _describe(self, layer: str, accuracy: Mapping[str, float]) -> None:
        own = ", ".join(f"{head} {100 * accuracy[head]:.1f} %" for head in ("object", "colour"))
        self.description = f"{layer} px bilinear (its accuracy on fresh renders: {own})"


class JudgeFeatures(WorldFeatures):
    """The tiny world's judge: its penultimate layer, and whether it reads object and
    colour as asked.

    Args:
        weights: Folder of a judge; the one of this name that ships by default.
        name: `judge`, or `second-judge`, trained apart so that no figure hangs on one's
            blind spots.

    Raises:
        UserError: There is no judge.
    """

    def __init__(self, weights: str | None = None, name: str = "judge") -> None:
        self.name = name
        with loading(name):
            self.judge = load_judge(weights or ASSETS / name)
        self._describe(f"tiny-world {name}, penultimate layer, 64", self.judge.accuracy)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        return np.concatenate([self.judge.features(batch).numpy() for batch in images.split(BATCH)])

    def _predict(self, images: Tensor) -> Prediction:
        return self.judge.classify(images)


class ProbeFeatures(WorldFeatures):
    """A linear probe on ImageNet features, which knows no "nothing"; see
    `tinyworld.probe`.

    Args:
        weights: File of a probe; the one that ships by default.

    Raises:
        UserError: There is none, or its backbone is not installed.
    """

    name = "probe"

    def __init__(self, weights: str | None = None) -> None:
        with loading(self.name):
            self.probe = Probe.load(Path(weights or ASSETS / PROBE))
        layer = f"linear probe on EfficientNet-Lite0's ImageNet features, {SIZE}"
        self._describe(layer, self.probe.accuracy)

    def __call__(self, images: Tensor) -> np.ndarray:
        return self.probe.features(images).numpy()

    def _predict(self, images: Tensor) -> Prediction:
        return self.probe.classify(images)


class CLIPFeatures(Features):
    """CLIP's image embedding, of unit length, and 100 times its cosine to the prompt's
    (CLIP-SIM, Table 4).

    Prompts are cut where they are too long.

    Args:
        weights: Hub id or folder; ViT-L/14 by default.

    Raises:
        UserError: The model cannot be loaded.
    """

    def __init__(self, weights: str | None = None) -> None:
        from transformers import CLIPModel, CLIPTokenizerFast

        model = weights or CLIP_MODEL
        download = f"download it with `hf download {model}`, or name a local folder: --features clip=PATH"
        with loading("clip", f" ({model} cannot be loaded; {download})"):
            self.model = CLIPModel.from_pretrained(model, use_safetensors=True).eval()
            self.tokenizer = CLIPTokenizerFast.from_pretrained(model)
        self.size = self.model.config.vision_config.image_size
        self.description = f"{model}, image embedding, {self.size} px bicubic with antialiasing"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        mean, std = (torch.tensor(values)[:, None, None] for values in CLIP_COLOURS)
        size, rows = (self.size, self.size), []
        for batch in images.permute(0, 3, 1, 2).split(BATCH):
            pixels = F.interpolate(batch, size, mode="bicubic", antialias=True).clamp(0, 1)
            output = self.model.get_image_features(pixel_values=(pixels - mean) / std)
            rows.append(F.normalize(_pooled(output), dim=-1))
        return torch.cat(rows).numpy()

    @torch.no_grad()
    def alignment(self, images: Tensor, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        texts = F.normalize(_pooled(self.model.get_text_features(**tokens)), dim=-1)
        return {"clip_similarity": 100 * (torch.from_numpy(self(images)) * texts).sum(-1).numpy()}


def _pooled(output: object) -> Tensor:
    """The embedding, which transformers returns bare or, since version 5, as
    `pooler_output`.
    """
    return output if isinstance(output, Tensor) else output.pooler_output


class InceptionFeatures(Features):
    """Inception-v3's 2048-dimensional pooling layer, as FID is defined on, by the file
    that `python -m msd_lab instruments` fetched or else by torch-fidelity.

    Args:
        weights: A local file of torch-fidelity's `pt_inception-2015-12-05` weights.

    Raises:
        UserError: torch-fidelity is missing or the weights cannot be had.
    """

    description = "Inception-v3 (2015-12-05, TensorFlow's), pool 2048, 299 px bilinear as TensorFlow 1"

    def __init__(self, weights: str | None = None) -> None:
        if weights is None and INCEPTION.is_file():
            self.network = load_inception()
            return
        try:
            from torch_fidelity import feature_extractor_inceptionv3 as fidelity
        except ImportError as error:
            raise UserError(
                f"features inception: {error}. Fetch its weights by `python -m msd_lab instruments`, "
                "or install torch-fidelity."
            ) from error
        local = "name a local copy of pt_inception-2015-12-05-6726825d.pth: --features inception=PATH"
        with loading("inception", f" (the weights cannot be loaded; {local})"):
            # torch-fidelity would run code that a file of weights may hold: this
            # refuses such a file first
            if weights is None:
                url = fidelity.URL_INCEPTION_V3
                torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
            else:
                torch.load(weights, map_location="cpu", weights_only=True)
            network = fidelity.FeatureExtractorInceptionV3(
                "inception", ["2048"], feature_extractor_weights_path=weights
            )
            self.network = lambda batch: network(batch)[0]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> np.ndarray:
        batches = (images.permute(0, 3, 1, 2) * 255).round().to(torch.uint8).split(BATCH)
        return torch.cat([self.network(batch) for batch in batches]).numpy()


class LPIPSFeatures(Features):
    """Embeddings whose squared Euclidean distance is LPIPS (AlexNet, version 0.1).

    Raises:
        UserError: The weights were not fetched, or others are named.
    """

    description = "LPIPS 0.1, AlexNet, at the images' own size"

    def __init__(self, weights: str | None = None) -> None:
        if weights:
            raise UserError(f"features lpips: {weights}: expected no weights: it has those that were fetched")
        self.network = load_lpips()

    def __call__(self, images: Tensor) -> np.ndarray:
        return torch.cat([self.network(batch) for batch in images.split(BATCH)]).numpy()


FEATURES: dict[str, Callable[[str | None], Features]] = {
    "judge": JudgeFeatures,
    "second-judge": partial(JudgeFeatures, name="second-judge"),
    "probe": ProbeFeatures,
    "inception": InceptionFeatures,
    "clip": CLIPFeatures,
    LPIPS: LPIPSFeatures,
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
    if next(iter(found), None) == LPIPS:
        raise UserError("--features: lpips measures no set of images: name another extractor before it")
    return found
