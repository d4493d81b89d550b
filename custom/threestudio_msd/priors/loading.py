"""Loading of pretrained latent-diffusion pipelines: from the hub or a folder, safetensors only."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation import TableSchedule
from .denoisers import Condition, ConditionalDenoiser, FlowDenoiser, VPDenoiser

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PriorError(RuntimeError):
    """A pretrained model cannot be had or cannot be used; the message says which, and what to do."""


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained latent-diffusion model, frozen.

    Attributes:
        denoiser: The conditional denoiser over scaled latents.
        vae: The autoencoder.
        backbone: The UNet or transformer inside `denoiser`, for adapters.
        resolution: Height and width of the images it was made for, pixels.
        condition: What `denoiser` is conditioned on, from the prompt processor's embeddings `[B, N, C]`.
    """

    denoiser: ConditionalDenoiser
    vae: nn.Module
    backbone: nn.Module
    resolution: int
    condition: Callable[[Tensor], Condition]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        config = self.backbone.config
        return config.in_channels, config.sample_size, config.sample_size

    def encode(self, images: Tensor) -> Tensor:
        """Encode images `[B, 3, H, W]` in [0, 1] to scaled latents, the mean of the autoencoder's posterior; differentiable."""
        dtype = next(self.vae.parameters()).dtype
        latents = self.vae.encode((images * 2 - 1).to(dtype)).latent_dist.mode()
        return (latents.to(images.dtype) - self._shift) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to images `[B, 3, H, W]` in [0, 1]."""
        dtype = next(self.vae.parameters()).dtype
        images = self.vae.decode((latents / self.vae.config.scaling_factor + self._shift).to(dtype)).sample
        return (images.to(latents.dtype) / 2 + 0.5).clamp(0, 1)

    @property
    def _shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0


def load_model(
    model: str, revision: str | None = None, dtype: str = "auto", device: torch.device | str = "cpu"
) -> PretrainedModel:
    """Load a pipeline's network, VAE and noise levels, without its text encoders: Stable Diffusion 1, 2, XL and 3.

    Args:
        model: Hub id or folder.
        revision: Branch, tag or commit on the hub; None is its default.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: float16 on a GPU, float32 on a CPU.
        device: Where to put it.

    Returns:
        The prior, frozen and in evaluation mode.

    Raises:
        PriorError: If the dtype is unknown, the model cannot be found, reached or read, or is of an
            unsupported kind.
    """
    if dtype not in (*DTYPES, "auto"):
        raise PriorError(f"unknown dtype {dtype!r}: expected auto, {', '.join(DTYPES)}")
    on_gpu = torch.device(device).type == "cuda"
    weights_dtype = DTYPES["float16" if on_gpu else "float32"] if dtype == "auto" else DTYPES[dtype]
    pipeline = _load_pipeline(model, revision, weights_dtype)
    factor = (
        2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        if getattr(pipeline, "vae", None) is not None
        else 1
    )
    backbone, network, condition = _denoiser(model, pipeline, factor, weights_dtype)
    for module in (backbone, pipeline.vae):
        module.requires_grad_(False).eval().to(device)
    if getattr(pipeline.vae.config, "force_upcast", False):
        pipeline.vae.float()  # overflows in float16
    return PretrainedModel(network, pipeline.vae, backbone, backbone.config.sample_size * factor, condition)


def _denoiser(
    model: str, pipeline: Any, factor: int, dtype: torch.dtype
) -> tuple[nn.Module, ConditionalDenoiser, Callable[[Tensor], Condition]]:
    """A pipeline's network, wrapped, and how it is conditioned."""
    # diffusers takes a second to import; the pure-tensor parts of this package do without it
    from diffusers import SD3Transformer2DModel, UNet2DConditionModel

    unet, transformer = getattr(pipeline, "unet", None), getattr(pipeline, "transformer", None)
    if isinstance(unet, UNet2DConditionModel) and unet.config.addition_embed_type in (None, "text_time"):
        schedule = TableSchedule.from_alphas_cumprod(pipeline.scheduler.alphas_cumprod)
        condition = text_condition
        if unet.config.addition_embed_type == "text_time":
            times = 6 * unet.config.addition_time_embed_dim
            pooled = unet.config.projection_class_embeddings_input_dim - times
            condition = partial(sdxl_condition, pooled=pooled, size=unet.config.sample_size * factor)
        return (
            unet,
            VPDenoiser(UNetCall(unet), schedule, pipeline.scheduler.config.prediction_type, dtype),
            condition,
        )
    if isinstance(transformer, SD3Transformer2DModel):
        times = pipeline.scheduler.sigmas.flip(0).double()
        times = times[(times > 0) & (times < 1)]
        network = FlowDenoiser(TransformerCall(transformer), TableSchedule(times / (1 - times)), dtype=dtype)
        return transformer, network, partial(sd3_condition, pooled=transformer.config.pooled_projection_dim)
    raise PriorError(
        f"{model}: a {type(pipeline).__name__} is not supported; expected a pipeline of Stable Diffusion 1, 2, XL or 3, "
        "with a UNet2DConditionModel or an SD3Transformer2DModel"
    )


def text_condition(embeddings: Tensor) -> Condition:
    """Stable Diffusion 1 and 2: the text encoder's hidden states."""
    return {"encoder_hidden_states": embeddings}


def sdxl_condition(embeddings: Tensor, pooled: int, size: int) -> Condition:
    """Stable Diffusion XL: hidden states, the pooled embedding behind them, and the sizes of an uncropped training image."""
    sizes = embeddings.new_tensor([size, size, 0, 0, size, size]).expand(len(embeddings), 6)
    return {
        "encoder_hidden_states": embeddings[:, :-1],
        "text_embeds": embeddings[:, -1, :pooled],
        "time_ids": sizes,
    }


def sd3_condition(embeddings: Tensor, pooled: int) -> Condition:
    """Stable Diffusion 3: hidden states, and the pooled embedding behind them."""
    return {"encoder_hidden_states": embeddings[:, :-1], "pooled_projections": embeddings[:, -1, :pooled]}


@dataclass(frozen=True)
class UNetCall:
    """A diffusers UNet as a plain function of sample, time and condition."""

    unet: nn.Module

    def __call__(self, sample: Tensor, time: Tensor, **condition: Tensor) -> Tensor:
        """The raw prediction."""
        added = {name: condition.pop(name) for name in ("text_embeds", "time_ids") if name in condition}
        return self.unet(sample, time, return_dict=False, added_cond_kwargs=added or None, **condition)[0]


@dataclass(frozen=True)
class TransformerCall:
    """A diffusers transformer as a plain function of sample, time and condition."""

    transformer: nn.Module

    def __call__(self, sample: Tensor, time: Tensor, **condition: Tensor) -> Tensor:
        """The raw prediction."""
        return self.transformer(sample, timestep=time, return_dict=False, **condition)[0]


def _load_pipeline(model: str, revision: str | None, dtype: torch.dtype):
    from diffusers import DiffusionPipeline
    from diffusers.utils.logging import disable_progress_bar

    skipped = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    skipped |= dict.fromkeys(
        f"{part}{number}" for part in ("tokenizer", "text_encoder") for number in ("", "_2", "_3")
    )
    # diffusers warns of the parts left out on purpose, and shows a bar for three small files
    logging.getLogger("diffusers.pipelines.pipeline_utils").setLevel(logging.ERROR)
    disable_progress_bar()
    try:
        return DiffusionPipeline.from_pretrained(
            model,
            revision=revision,
            torch_dtype=dtype,
            use_safetensors=True,
            requires_safety_checker=False,
            **skipped,
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
