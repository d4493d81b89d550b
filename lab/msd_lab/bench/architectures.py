"""Known pipelines as their parts' configurations: at full size, as published, and tiny, for tests.

The tiny ones have the real classes, 16 x 16 images and 4 x 4 latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIZES = ("tiny", "full")
TOKENS = {"tiny": 8, "full": 77}
"""Length of CLIP's prompts."""


@dataclass(frozen=True)
class Part:
    """A part of a pipeline.

    Attributes:
        cls: Its class.
        config: What the class, or its configuration's, is made of.
        library: Where the class is.
    """

    cls: str
    config: Mapping[str, Any]
    library: str = "diffusers"


@dataclass(frozen=True)
class Architecture:
    """A pipeline.

    Attributes:
        pipeline: Its class in diffusers.
        parts: By folder; what a tokenizer is follows from its text encoder.
        settings: Further entries of its `model_index.json`; `[None, None]` is a part that is left out.
    """

    pipeline: str
    parts: Mapping[str, Part]
    settings: Mapping[str, Any]


ABSENT = (None, None)
CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"


def blocks(*kinds: str) -> dict[str, tuple[str, ...]]:
    """A UNet's blocks on the way down, and the same in reverse on the way up."""
    return {
        "down_block_types": tuple(kind.format("Down") for kind in kinds),
        "up_block_types": tuple(kind.format("Up") for kind in reversed(kinds)),
    }


def unet(**config: Any) -> Part:
    """A UNet."""
    return Part("UNet2DConditionModel", config)


def vae(size: str, channels: int, resolution: int, **config: Any) -> Part:
    """An autoencoder; its scale and shift alone are those of the full one in the tiny one too."""
    full = size == "full"
    widths = (128, 256, 512, 512) if full else (8, 8, 8)
    return Part(
        "AutoencoderKL",
        {
            "block_out_channels": widths,
            "down_block_types": ("DownEncoderBlock2D",) * len(widths),
            "up_block_types": ("UpDecoderBlock2D",) * len(widths),
            "layers_per_block": 2 if full else 1,
            "norm_num_groups": 32 if full else 4,
            "latent_channels": channels if full else 4,
            "sample_size": resolution if full else 16,
            **config,
        },
    )


CLIP = {
    "L": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "H": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
    "G": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20},
}
"""Text encoders of CLIP ViT-L/14, and of OpenCLIP's ViT-H/14 (its last layer but one) and bigG."""


def clip(size: str, kind: str, projection: int | None = None) -> Part:
    """A text encoder of CLIP; with a width to project to, its pooled embedding is projected."""
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIP[kind] if size == "full" else tiny
    if projection is not None:
        config = {**config, "projection_dim": projection if size == "full" else 12}
    cls = "CLIPTextModel" if projection is None else "CLIPTextModelWithProjection"
    config = {**config, "hidden_act": "quick_gelu" if kind == "L" else "gelu"}
    return Part(cls, {**config, "vocab_size": 49408 if size == "full" else None}, "transformers")


def t5(size: str) -> Part:
    """The encoder of T5 v1.1 XXL."""
    full = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    full["vocab_size"] = 32128
    tiny = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": None}
    config = full if size == "full" else tiny
    return Part("T5EncoderModel", {**config, "feed_forward_proj": "gated-gelu"}, "transformers")


LEVELS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def stable_diffusion(size: str, encoder: Part, width: int, **config: Any) -> Architecture:
    """Stable Diffusion 1 or 2: their UNets differ in heads, the prompt's width, and projections."""
    sizes = {
        "full": {
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            **blocks(CROSS, CROSS, CROSS, PLAIN),
            "cross_attention_dim": width,
        },
        "tiny": {
            "sample_size": 4,
            "block_out_channels": (16, 16),
            "layers_per_block": 1,
            **blocks(CROSS, PLAIN),
            "cross_attention_dim": 16,
            "norm_num_groups": 4,
        },
    }
    scheduler = Part(
        "DDIMScheduler", {**LEVELS, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    )
    parts = {
        "vae": vae(size, 4, 512),
        "text_encoder": encoder,
        "unet": unet(**sizes[size], **config),
        "scheduler": scheduler,
    }
    settings = {"safety_checker": ABSENT, "feature_extractor": ABSENT, "requires_safety_checker": False}
    return Architecture("StableDiffusionPipeline", parts, settings)


def sd15(size: str) -> Architecture:
    """Stable Diffusion 1.5."""
    return stable_diffusion(size, clip(size, "L"), 768, attention_head_dim=8 if size == "full" else 2)


def sd21(size: str) -> Architecture:
    """Stable Diffusion 2.1-base."""
    heads = (5, 10, 20, 20) if size == "full" else (2, 2)
    return stable_diffusion(size, clip(size, "H"), 1024, attention_head_dim=heads, use_linear_projection=True)


def sdxl(size: str) -> Architecture:
    """Stable Diffusion XL."""
    sizes = {
        "full": {
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            **blocks(PLAIN, CROSS, CROSS),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 1280 + 6 * 256,
        },
        "tiny": {
            "sample_size": 4,
            "block_out_channels": (16, 16),
            "layers_per_block": 1,
            **blocks(PLAIN, CROSS),
            "attention_head_dim": 2,
            "cross_attention_dim": 2 * 16,
            "norm_num_groups": 4,
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 12 + 6 * 4,
        },
    }
    parts = {
        "vae": vae(size, 4, 1024, scaling_factor=0.13025, force_upcast=True),
        "text_encoder": clip(size, "L"),
        "text_encoder_2": clip(size, "G", 1280),
        "unet": unet(**sizes[size], use_linear_projection=True, addition_embed_type="text_time"),
        "scheduler": Part("EulerDiscreteScheduler", LEVELS),
    }
    settings = {"force_zeros_for_empty_prompt": True, "image_encoder": ABSENT, "feature_extractor": ABSENT}
    return Architecture("StableDiffusionXLPipeline", parts, settings)


def sd3(size: str) -> Architecture:
    """Stable Diffusion 3 medium."""
    sizes = {
        "full": {
            "sample_size": 128,
            "patch_size": 2,
            "in_channels": 16,
            "num_layers": 24,
            "attention_head_dim": 64,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "out_channels": 16,
            "pos_embed_max_size": 192,
        },
        "tiny": {
            "sample_size": 4,
            "patch_size": 1,
            "in_channels": 4,
            "num_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 24,
            "out_channels": 4,
            "pos_embed_max_size": 8,
        },
    }
    parts = {
        "vae": vae(size, 16, 1024, scaling_factor=1.5305, shift_factor=0.0609, **UNQUANTISED),
        "text_encoder": clip(size, "L", 768),
        "text_encoder_2": clip(size, "G", 1280),
        "text_encoder_3": t5(size),
        "transformer": Part("SD3Transformer2DModel", sizes[size]),
        "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    }
    return Architecture(
        "StableDiffusion3Pipeline", parts, {"image_encoder": ABSENT, "feature_extractor": ABSENT}
    )


def flux(size: str) -> Architecture:
    """Flux.1 [dev]."""
    sizes = {
        "full": {
            "patch_size": 1,
            "in_channels": 64,
            "num_layers": 19,
            "num_single_layers": 38,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 768,
            "axes_dims_rope": (16, 56, 56),
        },
        "tiny": {
            "patch_size": 1,
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "pooled_projection_dim": 16,
            "axes_dims_rope": (4, 4, 8),
        },
    }
    parts = {
        "vae": vae(size, 16, 1024, scaling_factor=0.3611, shift_factor=0.1159, **UNQUANTISED),
        "text_encoder": clip(size, "L"),
        "text_encoder_2": t5(size),
        "transformer": Part("FluxTransformer2DModel", {**sizes[size], "guidance_embeds": True}),
        "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "use_dynamic_shifting": True}),
    }
    return Architecture("FluxPipeline", parts, {"image_encoder": ABSENT, "feature_extractor": ABSENT})


def deepfloyd(size: str) -> Architecture:
    """DeepFloyd IF's first stage, XL."""
    sizes = {
        "full": {
            "sample_size": 64,
            "block_out_channels": (704, 1408, 2112, 2816),
            "layers_per_block": 3,
            **blocks("Resnet{}sampleBlock2D", *["SimpleCrossAttn{}Block2D"] * 3),
            "cross_attention_dim": 2816,
            "encoder_hid_dim": 4096,
            "attention_head_dim": 64,
            "addition_embed_type_num_heads": 64,
        },
        "tiny": {
            "sample_size": 16,
            "block_out_channels": (32, 32),
            "layers_per_block": 1,
            **blocks("Resnet{}sampleBlock2D", "SimpleCrossAttn{}Block2D"),
            "cross_attention_dim": 32,
            "encoder_hid_dim": 32,
            "attention_head_dim": 4,
            "norm_num_groups": 4,
            "addition_embed_type_num_heads": 2,
        },
    }
    shared = {
        "in_channels": 3,
        "out_channels": 6,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "addition_embed_type": "text",
        "cross_attention_norm": "group_norm",
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
    }
    levels = {
        "beta_schedule": "squaredcos_cap_v2",
        "variance_type": "learned_range",
        "thresholding": True,
    }
    parts = {
        "text_encoder": t5(size),
        "unet": unet(**sizes[size], **shared),
        "scheduler": Part("DDPMScheduler", levels),
    }
    absent = ("safety_checker", "feature_extractor", "watermarker")
    return Architecture(
        "IFPipeline", parts, {**dict.fromkeys(absent, ABSENT), "requires_safety_checker": False}
    )


UNQUANTISED = {"use_quant_conv": False, "use_post_quant_conv": False}

ARCHITECTURES = {"sd15": sd15, "sd21": sd21, "sdxl": sdxl, "sd3": sd3, "flux": flux, "if": deepfloyd}
"""By the name that `--like` knows; each takes one of `SIZES`."""
