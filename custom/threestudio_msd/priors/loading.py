"""Loading of pretrained latent-diffusion pipelines: from the hub or a folder, safetensors only."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..distillation import TableSchedule
from .networks import ConditionalDenoiser, VPNetwork

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PriorError(RuntimeError):
    """A pretrained model cannot be had or cannot be used; the message says which, and what to do."""


@dataclass(frozen=True)
class LatentPrior:
    """A pretrained latent-diffusion model, frozen.

    Attributes:
        network: The conditional denoiser over scaled latents; its condition is `encoder_hidden_states`.
        vae: The autoencoder.
        resolution: Height and width of the images it was made for, pixels.
        unet: The network itself, for adapters.
    """

    network: ConditionalDenoiser
    vae: nn.Module
    resolution: int
    unet: nn.Module

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        return self.unet.config.in_channels, self.unet.config.sample_size, self.unet.config.sample_size

    def encode(self, images: Tensor) -> Tensor:
        """Encode images `[B, 3, H, W]` in [0, 1] to scaled latents, the mean of the autoencoder's posterior; differentiable."""
        dtype = next(self.vae.parameters()).dtype
        latents = self.vae.encode((images * 2 - 1).to(dtype)).latent_dist.mode()
        return latents.to(images.dtype) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to images `[B, 3, H, W]` in [0, 1]."""
        dtype = next(self.vae.parameters()).dtype
        images = self.vae.decode((latents / self.vae.config.scaling_factor).to(dtype)).sample
        return (images.to(latents.dtype) / 2 + 0.5).clamp(0, 1)


def load_prior(model: str, revision: str | None = None, dtype: str = "auto", device: torch.device | str = "cpu") -> LatentPrior:
    """Load a Stable Diffusion pipeline's UNet, VAE and noise levels, without its text encoder.

    Args:
        model: Hub id or folder.
        revision: Branch, tag or commit on the hub; None is its default.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: float16 on a GPU, float32 on a CPU.
        device: Where to put it.

    Returns:
        The prior, frozen and in evaluation mode.

    Raises:
        PriorError: If the dtype is unknown, the model cannot be found, reached or read, or is of an unsupported kind.
    """
    # diffusers takes a second to import; the pure-tensor parts of this package do without it
    from diffusers import UNet2DConditionModel

    if dtype not in (*DTYPES, "auto"):
        raise PriorError(f"unknown dtype {dtype!r}: expected auto, {', '.join(DTYPES)}")
    on_gpu = torch.device(device).type == "cuda"
    weights_dtype = DTYPES["float16" if on_gpu else "float32"] if dtype == "auto" else DTYPES[dtype]
    pipeline = _load_pipeline(model, revision, weights_dtype)
    unet = getattr(pipeline, "unet", None)
    if not isinstance(unet, UNet2DConditionModel):
        raise PriorError(
            f"{model}: a {type(pipeline).__name__} has no UNet2DConditionModel; expected a Stable Diffusion pipeline"
        )
    for module in (unet, pipeline.vae):
        module.requires_grad_(False).eval().to(device)
    schedule = TableSchedule.from_alphas_cumprod(pipeline.scheduler.alphas_cumprod)
    network = VPNetwork(UNetCall(unet), schedule, pipeline.scheduler.config.prediction_type, weights_dtype)
    factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    return LatentPrior(network, pipeline.vae, unet.config.sample_size * factor, unet)


@dataclass(frozen=True)
class UNetCall:
    """A diffusers UNet as a plain function of sample, time and condition."""

    unet: nn.Module

    def __call__(self, sample: Tensor, time: Tensor, **condition: Tensor) -> Tensor:
        """The raw prediction."""
        return self.unet(sample, time, return_dict=False, **condition)[0]


def _load_pipeline(model: str, revision: str | None, dtype: torch.dtype):
    from diffusers import DiffusionPipeline
    from diffusers.utils.logging import disable_progress_bar

    skipped = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor", "image_encoder"))
    # diffusers warns of the parts left out on purpose, and shows a bar for three small files
    logging.getLogger("diffusers.pipelines.pipeline_utils").setLevel(logging.ERROR)
    disable_progress_bar()
    try:
        return DiffusionPipeline.from_pretrained(
            model, revision=revision, torch_dtype=dtype, use_safetensors=True, requires_safety_checker=False, **skipped
        )
    except (OSError, ValueError) as error:
        raise PriorError(_advice(model, revision, error)) from error


def _advice(model: str, revision: str | None, error: Exception) -> str:
    where = f"{model}@{revision}" if revision else model
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(model).is_dir():
        return f"{where}: not a readable pipeline folder ({reason}). It needs model_index.json, unet/, vae/ and scheduler/."
    return (
        f"{where}: cannot be loaded ({reason}). Check the id and the connection; download it with "
        f"`hf download {model}`, or name a local folder as pretrained_model_name_or_path."
    )
