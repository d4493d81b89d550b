"""The tiny prior: a latent-diffusion model of the tiny world, saved as a Stable Diffusion pipeline folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from threestudio_msd import vocabulary
from threestudio_msd.assets_path import ASSETS, TINY_PRIOR
from threestudio_msd.files import save_text
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..tinyworld.world import VOCABULARY, Caption
from .autoencoder import encode_images
from .data import Images
from .loop import TrainConfig, fit_rounds, quick_precision
from .tokens import FILLERS, FLAWS, LENGTH, save_tokenizer

PRIOR_FOLDER = ASSETS / TINY_PRIOR


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of the denoiser and of the text encoder."""

    channels: tuple[int, ...] = (48, 96, 128)
    blocks: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    heads: int = 4
    text_width: int = 96
    text_layers: int = 2


@dataclass(frozen=True)
class PriorRound:
    """A part of the denoiser's training.

    Attributes:
        training: Steps and rates.
        min_snr_gamma: Signal-to-noise ratio above which a timestep's error of the noise
            weighs less.
        skew: Timesteps are drawn as ``u ** skew`` of all, with uniform ``u``: above 1,
            more of little noise.
    """

    training: TrainConfig
    min_snr_gamma: float = 5.0
    skew: float = 1.0

    def timesteps(self, n: int, total: int, generator: torch.Generator) -> Tensor:
        """Draw timesteps from 0 to `total` - 1, int64 ``[n]``."""
        return (total * torch.rand(n, generator=generator) ** self.skew).long()

    def weight(self, snr: Tensor) -> Tensor:
        """Weight the noise's squared error at signal-to-noise ratios `snr`, of the same shape."""
        return snr.clamp_max(self.min_snr_gamma) / snr


class TinyPrior(nn.Module):
    """The parts that are trained together, from nothing: the denoiser and the text encoder."""

    def __init__(self, config: PriorConfig, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            sample_size=16,
            down_block_types=config.blocks,
            up_block_types=tuple(name.replace("Down", "Up") for name in reversed(config.blocks)),
            block_out_channels=config.channels,
            layers_per_block=1,
            norm_num_groups=16,
            cross_attention_dim=config.text_width,
            attention_head_dim=config.heads,
        )
        # the fused kernel takes nearly twice as long in bfloat16 on a CPU
        self.unet.set_attn_processor(AttnProcessor())
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.text_width,
                intermediate_size=2 * config.text_width,
                projection_dim=config.text_width,
                num_hidden_layers=config.text_layers,
                num_attention_heads=4,
                max_position_embeddings=LENGTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        nn.init.normal_(self.text_encoder.get_input_embeddings().weight, std=0.5)


def write_caption(seen: Caption, generator: torch.Generator) -> str:
    """Write a caption as users write it and threestudio extends it.

    One in eight names nothing, for guidance: most of these are empty, some a negative
    prompt's list of flaws. Four of five others name the view.

    Args:
        seen: The object, its colour and the view.
        generator: The source of randomness.
    """
    nothing, wordy, viewless, front_first = torch.rand(4, generator=generator).tolist()
    if nothing < 0.13:
        return "" if nothing < 0.1 else ", ".join(_words(FLAWS, 2, 12, generator))
    text = replace(seen, view=None).text
    if wordy < 0.1:
        text = f"a {_words(FILLERS, 1, 1, generator)[0]} of {text}"
    elif wordy < 0.25:
        text = f"{text}, {' '.join(_words(FILLERS, 1, 6, generator))}"
    elif wordy < 0.4:
        text = f"a DSLR photo of {text}" if wordy < 0.35 else f"a photo of {text}"
    if viewless > 0.8:
        return text
    if front_first < 0.1:
        return f"{seen.view.replace('back', 'backside')} view of {text}"
    return f"{text}, {seen.view} view"


def _words(words: Sequence[str], low: int, high: int, generator: torch.Generator) -> list[str]:
    n = int(torch.randint(low, high + 1, (1,), generator=generator))
    return [words[i] for i in torch.randint(len(words), (n,), generator=generator).tolist()]


def noise_schedule() -> DDIMScheduler:
    """Make Stable Diffusion's schedule: scaled-linear betas, 1000 steps, epsilon prediction, no clipping."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def train_prior(
    vae: AutoencoderKL,
    images: Images,
    folder: Path,
    rounds: Sequence[PriorRound],
    states: Path,
    sizes: PriorConfig,
) -> None:
    """Train the denoiser and the text encoder on the autoencoder's latents of captioned renders.

    The loss is the noise's squared error under min-SNR weights (Hang et al. 2023,
    "Efficient Diffusion Training via Min-SNR Weighting Strategy"). The pipeline folder
    is written anew, with averaged weights, at every save.

    Args:
        vae: The trained autoencoder.
        images: Labelled true renders, without the held-out pairs.
        folder: The pipeline's folder.
        rounds: One training after the other; each starts from the averaged weights of
            the last (warm restarts), with its own seed.
        states: Folder of the rounds' states, to resume from.
        sizes: Sizes of the networks.
    """
    tokenizer = save_tokenizer(folder / "tokenizer")
    torch.manual_seed(rounds[0].training.seed)
    prior = TinyPrior(sizes, tokenizer)
    prior.unet.to(memory_format=torch.channels_last)

    save = partial(save_prior, folder, vae, prior, tokenizer)
    loss = _prior_loss(prior, tokenizer, vae, images)
    parts = (replace(part.training, seed=part.training.seed + k) for k, part in enumerate(rounds))
    losses = (partial(loss, part) for part in rounds)
    fit_rounds("prior", prior, zip(parts, losses, strict=True), states, save)
    save()


def _prior_loss(
    prior: TinyPrior, tokenizer: CLIPTokenizer, vae: AutoencoderKL, images: Images
) -> Callable[[PriorRound, torch.Generator], Tensor]:
    mean, std = encode_images(vae, images)
    captions, scheduler = images.captions, noise_schedule()
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    padded = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "return_tensors": "pt"}

    def loss(part: PriorRound, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(images), (part.training.batch,), generator=generator)
        texts = [write_caption(captions[i], generator) for i in index]
        z = mean[index] + std[index] * torch.randn(mean[index].shape, generator=generator)
        z = vae.config.scaling_factor * z
        noise = torch.randn(z.shape, generator=generator)
        t = part.timesteps(len(z), scheduler.config.num_train_timesteps, generator)
        with quick_precision():
            text = prior.text_encoder(tokenizer(texts, **padded).input_ids)[0]
            predicted = prior.unet(scheduler.add_noise(z, noise, t), t, text).sample
        return (part.weight(snr[t]) * (predicted.float() - noise).square().mean((1, 2, 3))).mean()

    return loss


def save_prior(folder: Path, vae: AutoencoderKL, prior: TinyPrior, tokenizer: CLIPTokenizer) -> None:
    """Replace the pipeline folder but its tokenizer; the text encoder is in fp32, all else in fp16."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    StableDiffusionPipeline(
        vae=_half(vae),
        text_encoder=prior.text_encoder,
        tokenizer=tokenizer,
        unet=_half(prior.unet),
        scheduler=noise_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(aside, safe_serialization=True)
    shutil.copytree(folder / "tokenizer", aside / "tokenizer", dirs_exist_ok=True)
    save_text(json.dumps(VOCABULARY, indent=2) + "\n", aside / vocabulary.FILE)
    shutil.rmtree(folder)
    aside.rename(folder)


def _half(module: nn.Module) -> nn.Module:
    copy = type(module).from_config(module.config)
    copy.load_state_dict(module.state_dict())
    return copy.half()


def load_prior(folder: str | Path = PRIOR_FOLDER) -> StableDiffusionPipeline:
    """Load the tiny prior as a diffusers pipeline.

    Raises:
        FileNotFoundError: The folder holds no pipeline.
    """
    if not Path(folder, "model_index.json").is_file():
        raise FileNotFoundError(f"no pipeline in {folder} (scripts/train_prior.py makes it)")
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sample(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    guidance_scale: float,
    steps: int = 50,
    seed: int = 0,
    batch: int = 64,
) -> Tensor:
    """Draw guided DDIM samples, one a prompt; sample ``i`` depends on ``seed + i`` alone, not on the batch.

    Returns:
        Images ``[n, 64, 64, 3]`` in [0, 1].
    """
    images = []
    for start in range(0, len(prompts), batch):
        texts = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(texts))]
        options = {"guidance_scale": guidance_scale, "num_inference_steps": steps, "output_type": "pt"}
        images.append(pipeline(texts, generator=generators, **options).images)
    return torch.cat(images).permute(0, 2, 3, 1).float()
