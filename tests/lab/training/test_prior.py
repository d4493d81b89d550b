"""The prior that ships: a true pipeline folder whose guided samples are what the prompt says."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from msd_lab.assets import ASSETS as READERS
from msd_lab.tinyworld.judge import load_judge
from msd_lab.tinyworld.world import Caption, parse_prompt
from msd_lab.training.autoencoder import new_autoencoder, perturb, psnr, reconstruction_loss
from msd_lab.training.loop import TrainConfig
from msd_lab.training.measures import accuracy, latent_statistics
from msd_lab.training.prior import PRIOR_FOLDER, PriorRound, load_prior, noise_schedule, sample, write_caption
from msd_lab.training.tokens import FLAWS
from threestudio_msd.assets_path import ASSETS


@pytest.fixture(scope="module")
def pipeline():
    return load_prior()


def test_loads_by_the_calls_that_load_stable_diffusion(pipeline):
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    assert isinstance(pipeline, StableDiffusionPipeline)
    assert pipeline.safety_checker is None
    tokenizer = AutoTokenizer.from_pretrained(PRIOR_FOLDER, subfolder="tokenizer")
    encoder = CLIPTextModel.from_pretrained(PRIOR_FOLDER, subfolder="text_encoder")
    unet = UNet2DConditionModel.from_pretrained(PRIOR_FOLDER, subfolder="unet")
    vae = AutoencoderKL.from_pretrained(PRIOR_FOLDER, subfolder="vae")
    scheduler = DDIMScheduler.from_pretrained(PRIOR_FOLDER, subfolder="scheduler")
    ids = tokenizer(
        "a red mug", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    text = encoder(ids)[0]
    assert text.shape == (1, tokenizer.model_max_length, unet.config.cross_attention_dim)
    latents = torch.zeros(1, 4, unet.config.sample_size, unet.config.sample_size)
    assert unet(latents, 500, text.float()).sample.shape == latents.shape
    assert vae.decode(latents / vae.config.scaling_factor).sample.shape == (1, 3, 64, 64)
    assert scheduler.config.prediction_type == "epsilon"


def test_noise_is_stable_diffusions():
    scheduler = noise_schedule()
    assert len(scheduler.alphas_cumprod) == 1000
    assert scheduler.betas[0].item() == pytest.approx(0.00085)
    assert scheduler.betas[-1].item() == pytest.approx(0.012)
    assert scheduler.betas.sqrt().diff().std() < 1e-6, "scaled linear: the roots are evenly spaced"
    assert not scheduler.config.clip_sample


def test_a_round_weighs_and_draws_its_timesteps():
    training = TrainConfig(steps=1, batch=1, lr=1e-3)
    snr = torch.tensor([0.5, 5.0, 50.0, 500.0])
    torch.testing.assert_close(PriorRound(training).weight(snr), torch.tensor([1.0, 1.0, 0.1, 0.01]))
    torch.testing.assert_close(
        PriorRound(training, min_snr_gamma=100.0).weight(snr), torch.tensor([1.0, 1.0, 1.0, 0.2])
    )

    def below_100(skew):
        t = PriorRound(training, skew=skew).timesteps(20000, 1000, torch.Generator().manual_seed(0))
        assert t.min() >= 0
        assert t.max() <= 999
        return (t < 100).float().mean().item()

    assert below_100(1.0) == pytest.approx(0.1, abs=0.01)
    assert below_100(1.5) == pytest.approx(0.1 ** (1 / 1.5), abs=0.01)


def test_guided_samples_are_the_right_object_in_the_right_colour(pipeline):
    prompts = ["a red mug", "a blue house", "a green car", "a black cat", "an orange duck", "a pink robot"]
    captions = [parse_prompt(prompt) for prompt in prompts for _ in range(2)]
    images = sample(pipeline, [caption.text for caption in captions], guidance_scale=5.0, steps=20)
    found = accuracy(load_judge(), images, captions)
    assert found["images"] == 12
    assert found["object"] >= 0.9
    assert found["colour"] >= 0.9


def test_a_sample_does_not_depend_on_its_batch(pipeline):
    prompts = ["a red mug", "a blue house", "a green car"]
    together = sample(pipeline, prompts, 3.0, steps=4)
    one_by_one = sample(pipeline, prompts, 3.0, steps=4, batch=1)
    assert torch.allclose(together, one_by_one, atol=1e-3)


def test_latents_are_bounded_where_distillation_starts(pipeline, renders):
    figures = latent_statistics(pipeline.vae, renders[:48])
    assert figures["std"] == pytest.approx(1.0, abs=0.1)
    assert figures["largest_of_grey"] <= 4
    assert figures["largest_of_flat_colours"] <= 8
    assert figures["psnr"] >= 25


def test_flat_colours_decode_to_themselves(pipeline):
    flat = torch.tensor([[0.5, 0.5, 0.5], [0.8, 0.2, 0.2], [0.2, 0.3, 0.8]])[:, :, None, None].expand(
        -1, -1, 64, 64
    )
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(2 * flat - 1).latent_dist.mode()).sample / 2 + 0.5
    assert (decoded - flat).abs().mean() < 0.06


def test_captions_cover_what_users_and_threestudio_write():
    generator = torch.Generator().manual_seed(0)
    captions = [write_caption(Caption("mug", "red", "back"), generator) for _ in range(4000)]
    counts = Counter(captions)
    assert counts[""] / 4000 == pytest.approx(0.1, abs=0.02)
    assert counts["a red mug, back view"] > 1000
    assert counts["a red mug"] > 300
    assert counts["backside view of a red mug"] > 20
    flaws = {caption for caption in counts if set(caption.split(", ")) <= set(FLAWS)}
    assert sum(counts[caption] for caption in flaws) / 4000 == pytest.approx(0.03, abs=0.01)
    for caption in set(counts) - flaws - {""}:
        assert parse_prompt(caption) in (Caption("mug", "red"), Caption("mug", "red", "back"))


def test_perturbed_images_stay_images_and_most_are_left_alone():
    images = torch.rand(400, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    source, target = perturb(images, torch.Generator().manual_seed(0))
    assert source.min() >= 0
    assert source.max() <= 1
    untouched = (source == images).flatten(1).all(1).float().mean()
    assert 0.6 < untouched < 0.85
    assert (target != source).flatten(1).any(1).any()


def test_reconstruction_loss_is_zero_only_for_the_target():
    target = torch.rand(2, 3, 16, 16)
    assert reconstruction_loss(target, target) == 0
    assert reconstruction_loss(target + 0.1, target) > 0.09


def test_an_untrained_autoencoder_is_poor(renders):
    torch.manual_seed(0)
    assert psnr(new_autoencoder(), renders[:12]) < 15


def test_configs_name_no_folder_of_the_machine_that_trained():
    for path in [*ASSETS.rglob("*.json"), *READERS.rglob("*.json")]:
        written = json.loads(path.read_text(encoding="utf-8"))
        assert not (isinstance(written, dict) and written.get("_name_or_path")), path


def test_a_missing_pipeline_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_prior\.py"):
        load_prior(tmp_path)


def test_assets_are_small_and_nothing_in_them_is_pickled():
    files = [path for folder in (ASSETS, READERS) for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in files) <= 25_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".png", ".md", ".j2", ".html"}
    assert sum(path.suffix == ".safetensors" for path in files) == 6
