"""Small pipelines with random weights, as folders: the real classes and files, in a second."""

from __future__ import annotations

import json
from pathlib import Path

import torch

WIDTH, TOKENS = 16, 8


def save_tokenizer(folder: Path) -> None:
    """A CLIP tokenizer of single letters: any lower-case prompt tokenises."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)


def small_vae(**settings):
    """An autoencoder of 16 x 16 images and 4 x 4 latents."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **settings,
    )


def small_text_config(tokenizer, **settings):
    """A CLIP text encoder's configuration."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )


def small_t5(width: int):
    """A T5 encoder, and its tokenizer of single letters."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    special = [(word, 0.0) for word in ("<pad>", "</s>", "<unk>")]
    letters = [(chr(c), -3.0) for c in range(97, 123)]
    tokenizer = T5Tokenizer(vocab=[*special, *letters, ("\u2581", -2.0)], extra_ids=0)
    size = {"d_model": width, "d_kv": 8, "d_ff": width, "num_layers": 1, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), **size)), tokenizer


def save_pipeline(folder: Path, prediction_type: str = "epsilon", seed: int = 0, **unet: int) -> Path:
    """Write a StableDiffusionPipeline for 16 x 16 images with 4 x 4 latents; `unet`: further settings."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    save_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=small_vae(),
        text_encoder=CLIPTextModel(small_text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
            **unet,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,  # this and the offset as Stable Diffusion's schedulers have them
            steps_offset=1,
            prediction_type=prediction_type,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def save_xl_pipeline(folder: Path, seed: int = 0) -> Path:
    """Write a StableDiffusionXLPipeline for 16 x 16 images: two text encoders, a pooled embedding, sizes."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    save_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLPipeline(
        vae=small_vae(force_upcast=True),
        text_encoder=CLIPTextModel(small_text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(small_text_config(tokenizer, projection_dim=12)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=2 * WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=12 + 6 * 4,
        ),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    )
    pipeline.save_pretrained(folder)
    return folder


def save_sd3_pipeline(folder: Path, seed: int = 0) -> Path:
    """Write a StableDiffusion3Pipeline for 16 x 16 images: flow matching, three text encoders."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    save_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(seed)
    t5, t5_tokenizer = small_t5(32)
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=4,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=24,
            out_channels=4,
            pos_embed_max_size=8,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=small_vae(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(small_text_config(tokenizer, projection_dim=12)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(small_text_config(tokenizer, projection_dim=12)),
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    )
    pipeline.save_pretrained(folder)
    return folder


def save_if_pipeline(folder: Path, seed: int = 0) -> Path:
    """Write an IFPipeline for 16 x 16 images: pixels, a learned variance, a T5 encoder."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

    torch.manual_seed(seed)
    t5, tokenizer = small_t5(32)
    pipeline = IFPipeline(
        unet=UNet2DConditionModel(
            sample_size=16,
            in_channels=3,
            out_channels=6,
            block_out_channels=(32, 32),
            layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            cross_attention_dim=32,
            encoder_hid_dim=32,
            attention_head_dim=4,
            norm_num_groups=4,
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        ),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True
        ),
        text_encoder=t5,
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def save_flux_pipeline(folder: Path, seed: int = 0, guidance_embeds: bool = True) -> Path:
    """Write a FluxPipeline for 16 x 16 images: [dev], or [schnell] without guidance."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer

    save_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(seed)
    t5, t5_tokenizer = small_t5(32)
    pipeline = FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=guidance_embeds,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=small_vae(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModel(small_text_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
    )
    pipeline.save_pretrained(folder)
    return folder
