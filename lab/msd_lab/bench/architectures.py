"""Known pipelines as settings of their parts: at full size, as published, and tiny, for tests.

A full part lists what differs from its class's defaults. A tiny one has the full one's settings but for those
of its size: 16 x 16 images, 4 x 4 latents, a layer a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SIZES = ("tiny", "full")
TOKENS = {"tiny": 8, "full": 77}  # length of CLIP's prompts

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of a pipeline.

    Attributes:
        cls: Its class.
        full: Published settings.
        tiny: Settings of a tiny one where they differ.
    """

    cls: str
    full: Settings = field(default_factory=dict)
    tiny: Settings = field(default_factory=dict)

    @property
    def library(self) -> str:
        return "transformers" if self.cls.startswith(("CLIP", "T5")) else "diffusers"

    def config(self, size: str) -> dict[str, Any]:
        """Settings at one of `SIZES`."""
        return {**self.full, **(self.tiny if size == "tiny" else {})}


@dataclass(frozen=True)
class Architecture:
    """A pipeline.

    Attributes:
        pipeline: Its class in diffusers.
        parts: By folder; a tokenizer's follows from its text encoder's.
    """

    pipeline: str
    parts: Mapping[str, Part]


CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"
SIMPLE, RESNET = "SimpleCrossAttn{}Block2D", "Resnet{}sampleBlock2D"


def blocks(*kinds: str) -> Settings:
    """Name a UNet's blocks on the way down, and the same in reverse on the way up."""
    return {
        "down_block_types": tuple(kind.format("Down") for kind in kinds),
        "up_block_types": tuple(kind.format("Up") for kind in reversed(kinds)),
    }


def unet(*kinds: str, full: Settings, tiny: Settings) -> Part:
    """A UNet of these blocks; a tiny one has the first and the last kind of them."""
    small = {
        "sample_size": 4,
        "block_out_channels": (16, 16),
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return Part(
        "UNet2DConditionModel",
        {**blocks(*kinds), **full},
        {**small, **blocks(kinds[0], kinds[-1]), **tiny},
    )


def vae(resolution: int, **full: Any) -> Part:
    """An autoencoder."""

    def depth(*widths: int) -> Settings:
        encoder, decoder = ("DownEncoderBlock2D",) * len(widths), ("UpDecoderBlock2D",) * len(widths)
        return {"block_out_channels": widths, "down_block_types": encoder, "up_block_types": decoder}

    tiny = {"layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4, "sample_size": 16}
    return Part(
        "AutoencoderKL",
        {**depth(128, 256, 512, 512), "layers_per_block": 2, "sample_size": resolution, **full},
        {**depth(8, 8, 8), **tiny},
    )


def clip(width: int, layers: int, heads: int, projection: int | None = None, act: str = "gelu") -> Part:
    """A text encoder of CLIP; with a width to project to, its pooled embedding is projected."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    full = dict(zip(names, (width, 4 * width, layers, heads), strict=True))
    tiny = dict(zip(names, (16, 32, 1, 2), strict=True))
    return Part(
        "CLIPTextModelWithProjection" if projection else "CLIPTextModel",
        {
            **full,
            "hidden_act": act,
            "vocab_size": 49408,
            **({"projection_dim": projection} if projection else {}),
        },
        {**tiny, "vocab_size": None, **({"projection_dim": 12} if projection else {})},
    )


CLIP_L = clip(768, 12, 12, act="quick_gelu")
CLIP_L_PROJECTED = clip(768, 12, 12, 768, act="quick_gelu")
CLIP_H = clip(1024, 23, 16)
"""OpenCLIP's ViT-H/14 up to its last layer but one."""
CLIP_G = clip(1280, 32, 20, 1280)
T5_XXL = Part(
    "T5EncoderModel",
    {
        "d_model": 4096,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
    },
    {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": None},
)
LEVELS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDIM = Part("DDIMScheduler", {**LEVELS, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1})
UNQUANTISED = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}

ARCHITECTURES = {
    "sd15": Architecture(
        "StableDiffusionPipeline",
        {
            "vae": vae(512),
            "text_encoder": CLIP_L,
            "unet": unet(*[CROSS] * 3, PLAIN, full={"sample_size": 64, "cross_attention_dim": 768}, tiny={}),
            "scheduler": DDIM,
        },
    ),
    "sd21": Architecture(
        "StableDiffusionPipeline",
        {
            "vae": vae(512),
            "text_encoder": CLIP_H,
            "unet": unet(
                *[CROSS] * 3,
                PLAIN,
                full={
                    "sample_size": 64,
                    "cross_attention_dim": 1024,
                    "attention_head_dim": (5, 10, 20, 20),
                    "use_linear_projection": True,
                },
                tiny={"attention_head_dim": (2, 2)},
            ),
            "scheduler": DDIM,
        },
    ),
    "sdxl": Architecture(
        "StableDiffusionXLPipeline",
        {
            "vae": vae(1024, scaling_factor=0.13025),
            "text_encoder": CLIP_L,
            "text_encoder_2": CLIP_G,
            "unet": unet(
                PLAIN,
                CROSS,
                CROSS,
                full={
                    "sample_size": 128,
                    "block_out_channels": (320, 640, 1280),
                    "transformer_layers_per_block": (1, 2, 10),
                    "attention_head_dim": (5, 10, 20),
                    "cross_attention_dim": 2048,
                    "use_linear_projection": True,
                    "addition_embed_type": "text_time",
                    "addition_time_embed_dim": 256,
                    "projection_class_embeddings_input_dim": 1280 + 6 * 256,
                },
                tiny={
                    "transformer_layers_per_block": 1,
                    "cross_attention_dim": 2 * 16,
                    "addition_time_embed_dim": 4,
                    "projection_class_embeddings_input_dim": 12 + 6 * 4,
                },
            ),
            "scheduler": Part("EulerDiscreteScheduler", LEVELS),
        },
    ),
    "sd3": Architecture(
        "StableDiffusion3Pipeline",
        {
            "vae": vae(1024, scaling_factor=1.5305, shift_factor=0.0609, **UNQUANTISED),
            "text_encoder": CLIP_L_PROJECTED,
            "text_encoder_2": CLIP_G,
            "text_encoder_3": T5_XXL,
            "transformer": Part(
                "SD3Transformer2DModel",
                {
                    "num_layers": 24,
                    "num_attention_heads": 24,
                    "caption_projection_dim": 1536,
                    "pos_embed_max_size": 192,
                },
                {
                    "sample_size": 4,
                    "patch_size": 1,
                    "in_channels": 4,
                    "out_channels": 4,
                    "num_layers": 1,
                    "attention_head_dim": 8,
                    "num_attention_heads": 2,
                    "joint_attention_dim": 32,
                    "caption_projection_dim": 16,
                    "pooled_projection_dim": 24,
                    "pos_embed_max_size": 8,
                },
            ),
            "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        },
    ),
    "flux": Architecture(
        "FluxPipeline",
        {
            "vae": vae(1024, scaling_factor=0.3611, shift_factor=0.1159, **UNQUANTISED),
            "text_encoder": CLIP_L,
            "text_encoder_2": T5_XXL,
            "transformer": Part(
                "FluxTransformer2DModel",
                {"guidance_embeds": True},
                {
                    "in_channels": 16,
                    "num_layers": 1,
                    "num_single_layers": 1,
                    "attention_head_dim": 16,
                    "num_attention_heads": 2,
                    "joint_attention_dim": 32,
                    "pooled_projection_dim": 16,
                    "axes_dims_rope": (4, 4, 8),
                },
            ),
            "scheduler": Part(
                "FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "use_dynamic_shifting": True}
            ),
        },
    ),
    "if": Architecture(
        "IFPipeline",
        {
            "text_encoder": T5_XXL,
            "unet": unet(
                RESNET,
                *[SIMPLE] * 3,
                full={
                    "sample_size": 64,
                    "block_out_channels": (704, 1408, 2112, 2816),
                    "layers_per_block": 3,
                    "cross_attention_dim": 2816,
                    "encoder_hid_dim": 4096,
                    "attention_head_dim": 64,
                    "in_channels": 3,
                    "out_channels": 6,
                    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
                    "addition_embed_type": "text",
                    "cross_attention_norm": "group_norm",
                    "resnet_time_scale_shift": "scale_shift",
                    "act_fn": "gelu",
                },
                tiny={
                    "sample_size": 16,
                    "block_out_channels": (32, 32),
                    "cross_attention_dim": 32,
                    "encoder_hid_dim": 32,
                    "attention_head_dim": 4,
                    "addition_embed_type_num_heads": 2,
                },
            ),
            "scheduler": Part(
                "DDPMScheduler",
                {
                    "beta_schedule": "squaredcos_cap_v2",
                    "variance_type": "learned_range",
                    "thresholding": True,
                },
            ),
        },
    ),
}
"""Stable Diffusion 1.5, 2.1-base, XL, 3 medium, Flux.1 [dev], DeepFloyd IF's first stage XL, by `--like`."""
