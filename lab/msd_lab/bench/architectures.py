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

LANGUAGE = ("CLIP", "T5", "Gemma", "Qwen2", "Qwen3")  # how classes of text encoders begin

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
        return "transformers" if self.cls.startswith(LANGUAGE) else "diffusers"

    def config(self, size: str) -> dict[str, Any]:
        """Settings at one of `SIZES`."""
        return {**self.full, **(self.tiny if size == "tiny" else {})}


@dataclass(frozen=True)
class Architecture:
    """A pipeline.

    Attributes:
        pipeline: Its class in diffusers.
        parts: By folder; a tokenizer's follows from its text encoder's.
        settings: Of the pipeline itself.
    """

    pipeline: str
    parts: Mapping[str, Part]
    settings: Settings = field(default_factory=dict)


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
LANGUAGE_SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"
)  # fmt: skip


def language(cls: str, *full: int, layers: int = 2, **more: Any) -> Part:
    """A decoder-only text encoder of `LANGUAGE_SIZES`; a tiny one has this many layers."""
    tiny = dict(zip(LANGUAGE_SIZES, (16, 32, layers, 2, 1), strict=True))
    return Part(
        cls,
        {**dict(zip(LANGUAGE_SIZES, full, strict=True)), **more},
        {**tiny, "head_dim": 8, "vocab_size": None},
    )


def sections(*parts: int) -> Settings:
    """Split a head's rotary frequencies among time, height and width."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": list(parts)}}


_SEEING = language("", 3584, 18944, 28, 28, 4, vocab_size=152064, **sections(16, 24, 24))
QWEN25_VL = Part(
    "Qwen2_5_VLForConditionalGeneration",
    {"text_config": _SEEING.full},
    {
        "text_config": {**_SEEING.tiny, **sections(1, 1, 2)},
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
    },
)


QWEN3_4B = (2560, 9728, 36, 32, 8)
GEMMA2_2B = language("Gemma2Model", 2304, 9216, 26, 8, 4, head_dim=256, vocab_size=256000)
TINY_ROPE = {"attention_head_dim": 16, "num_attention_heads": 2}
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
    "z-image": Architecture(
        "ZImagePipeline",
        {
            "vae": vae(1024, scaling_factor=0.3611, shift_factor=0.1159, **UNQUANTISED),
            "text_encoder": language("Qwen3Model", *QWEN3_4B, head_dim=128, vocab_size=151936),
            "transformer": Part(
                "ZImageTransformer2DModel",
                {},
                {
                    "in_channels": 4,
                    "dim": 32,
                    "n_layers": 1,
                    "n_refiner_layers": 1,
                    "n_heads": 2,
                    "n_kv_heads": 2,
                    "cap_feat_dim": 16,
                    "axes_dims": [4, 6, 6],
                },
            ),
            "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 6.0}),
        },
    ),
    "qwen-image": Architecture(
        "QwenImagePipeline",
        {
            "vae": Part(
                "AutoencoderKLQwenImage",
                {},
                {
                    "base_dim": 8,
                    "z_dim": 4,
                    "dim_mult": [1, 1, 1],
                    "num_res_blocks": 1,
                    "temperal_downsample": [False, True],
                    "latents_mean": [-0.7, 0.1, 0.9, 0.4],
                    "latents_std": [2.8, 1.4, 2.3, 2.6],
                },
            ),
            "text_encoder": QWEN25_VL,
            "transformer": Part(
                "QwenImageTransformer2DModel",
                {},
                {
                    **TINY_ROPE,
                    "in_channels": 16,
                    "out_channels": 4,
                    "num_layers": 1,
                    "joint_attention_dim": 16,
                    "axes_dims_rope": (4, 6, 6),
                },
            ),
            "scheduler": Part(
                "FlowMatchEulerDiscreteScheduler",
                {
                    "use_dynamic_shifting": True,
                    "base_shift": 0.5,
                    "max_shift": 0.9,
                    "max_image_seq_len": 8192,
                    "shift_terminal": 0.02,
                },
            ),
        },
    ),
    "sana": Architecture(
        "SanaPipeline",
        {
            "vae": Part(
                "AutoencoderDC",
                {"scaling_factor": 0.41407},
                {
                    "latent_channels": 4,
                    "attention_head_dim": 4,
                    "encoder_block_out_channels": (8, 8, 8),
                    "decoder_block_out_channels": (8, 8, 8),
                    "encoder_layers_per_block": (1, 1, 1),
                    "decoder_layers_per_block": (1, 1, 1),
                    "encoder_qkv_multiscales": ((), (), ()),
                    "decoder_qkv_multiscales": ((), (), ()),
                },
            ),
            "text_encoder": GEMMA2_2B,
            "transformer": Part(
                "SanaTransformer2DModel",
                {},
                {
                    "in_channels": 4,
                    "out_channels": 4,
                    "num_attention_heads": 2,
                    "attention_head_dim": 8,
                    "num_layers": 1,
                    "num_cross_attention_heads": 2,
                    "cross_attention_head_dim": 8,
                    "cross_attention_dim": 16,
                    "caption_channels": 16,
                    "sample_size": 4,
                },
            ),
            "scheduler": Part(
                "DPMSolverMultistepScheduler",
                {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
            ),
        },
    ),
    "lumina2": Architecture(
        "Lumina2Pipeline",
        {
            "vae": vae(1024, scaling_factor=0.3611, shift_factor=0.1159, **UNQUANTISED),
            "text_encoder": GEMMA2_2B,
            "transformer": Part(
                "Lumina2Transformer2DModel",
                {"cap_feat_dim": 2304},
                {
                    "sample_size": 4,
                    "in_channels": 4,
                    "hidden_size": 32,
                    "num_layers": 1,
                    "num_refiner_layers": 1,
                    "num_attention_heads": 2,
                    "num_kv_heads": 1,
                    "multiple_of": 8,
                    "axes_dim_rope": (4, 6, 6),
                    "axes_lens": (300, 64, 64),
                    "cap_feat_dim": 16,
                },
            ),
            "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 6.0}),
        },
    ),
    "chroma": Architecture(
        "ChromaPipeline",
        {
            "vae": vae(1024, scaling_factor=0.3611, shift_factor=0.1159, **UNQUANTISED),
            "text_encoder": T5_XXL,
            "transformer": Part(
                "ChromaTransformer2DModel",
                {},
                {
                    **TINY_ROPE,
                    "in_channels": 16,
                    "num_layers": 1,
                    "num_single_layers": 1,
                    "joint_attention_dim": 32,
                    "axes_dims_rope": (4, 4, 8),
                    "approximator_num_channels": 16,
                    "approximator_hidden_dim": 16,
                    "approximator_layers": 1,
                },
            ),
            "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}),
        },
    ),
    "pixart-sigma": Architecture(
        "PixArtSigmaPipeline",
        {
            "vae": vae(1024, scaling_factor=0.13025),
            "text_encoder": T5_XXL,
            "transformer": Part(
                "PixArtTransformer2DModel",
                {"caption_channels": 4096, "interpolation_scale": 2, "use_additional_conditions": False},
                {
                    "sample_size": 4,
                    "num_attention_heads": 2,
                    "attention_head_dim": 8,
                    "num_layers": 1,
                    "cross_attention_dim": 16,
                    "caption_channels": 32,
                },
            ),
            "scheduler": Part("DPMSolverMultistepScheduler", {"beta_schedule": "linear"}),
        },
    ),
    "flux2-klein": Architecture(
        "Flux2KleinPipeline",
        {
            "vae": Part(
                "AutoencoderKLFlux2",
                {},
                {
                    "block_out_channels": (8, 8, 8),
                    "down_block_types": ("DownEncoderBlock2D",) * 3,
                    "up_block_types": ("UpDecoderBlock2D",) * 3,
                    "layers_per_block": 1,
                    "norm_num_groups": 4,
                    "latent_channels": 4,
                    "sample_size": 16,
                },
            ),
            "text_encoder": language(
                "Qwen3ForCausalLM", *QWEN3_4B, layers=27, head_dim=128, vocab_size=151936
            ),
            "transformer": Part(
                "Flux2Transformer2DModel",
                {
                    "num_layers": 5,
                    "num_single_layers": 20,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 7680,
                    "guidance_embeds": False,
                },
                {
                    **TINY_ROPE,
                    "in_channels": 16,
                    "num_layers": 1,
                    "num_single_layers": 1,
                    "joint_attention_dim": 48,
                    "timestep_guidance_channels": 16,
                    "axes_dims_rope": (4, 4, 4, 4),
                },
            ),
            "scheduler": Part(
                "FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "use_dynamic_shifting": True}
            ),
        },
    ),
    "prx-pixel": Architecture(
        "PRXPixelPipeline",
        {
            "text_encoder": language(
                "Qwen3VLTextModel", *QWEN3_4B, head_dim=128, vocab_size=151936, **sections(24, 20, 20)
            ),
            "transformer": Part(
                "PRXTransformer2DModel",
                {"in_channels": 3, "patch_size": 16, "context_in_dim": 2560},
                {
                    "patch_size": 4,
                    "context_in_dim": 16,
                    "hidden_size": 32,
                    "num_heads": 2,
                    "depth": 1,
                    "axes_dim": [8, 8],
                },
            ),
            "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        },
        {"default_sample_size": 1024, "prompt_max_tokens": 256, "noise_scale": 2.0},
    ),
}
"""Pipelines by `--like`. No published copy of FLUX.2 [klein] and PRX in pixels was at hand: their sizes are
assumed.
"""
