"""What can be wrong with a model's folder: one line that names the file and what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from threestudio_msd.fields import FieldError
from threestudio_msd.priors import PriorError, embed_prompts, load_model
from threestudio_msd.priors.calls import vp_denoiser
from threestudio_msd.priors.folder import check_model, open_model, weight_files
from threestudio_msd.priors.sources import Source

UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
TEXT = "text_encoder/model.safetensors"


def listing(*names: str) -> Source:
    """A model that has these files, all of them to be downloaded."""
    return Source(dict.fromkeys(names, 1), lambda _: Path(), lambda _: False)


@pytest.fixture
def folder(tmp_path, random_pipeline) -> Path:
    return shutil.copytree(random_pipeline, tmp_path / "model")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def reshaped(path: Path) -> None:
    tensors = load_file(path)
    name = max(tensors, key=lambda name: tensors[name].numel())
    save_file({**tensors, name: torch.zeros(3, 3)}, path)


def without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors[sorted(tensors)[0]]
    save_file(tensors, path)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n")


def pickled(path: Path) -> None:
    path.rename(path.with_suffix(".bin"))


DAMAGE = {
    "no index": (lambda f: (f / "model_index.json").unlink(), r"has no model_index\.json"),
    "index no JSON": (lambda f: (f / "model_index.json").write_text("{"), r"model_index\.json is no JSON"),
    "index binary": (lambda f: (f / "model_index.json").write_bytes(b"\xff\xfe"), "is no JSON"),
    "index a list": (lambda f: (f / "model_index.json").write_text("[]"), "holds no mapping"),
    "no class": (lambda f: change(f / "model_index.json", _class_name=None), "a None is not supported"),
    "odd class": (lambda f: change(f / "model_index.json", _class_name="SDPipeline"), "SDPipeline is not"),
    "odd scheduler": (lambda f: change(f / "model_index.json", scheduler=["diffusers", "X"]), "X"),
    "null scheduler": (lambda f: change(f / "model_index.json", scheduler=[None, None]), '"scheduler": '),
    "no unet": (lambda f: shutil.rmtree(f / "unet"), "has no unet/"),
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "has no vae/"),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "has no scheduler/"),
    "no weights": (lambda f: (f / UNET).unlink(), "unet/ holds no weights"),
    "unet no config": (lambda f: (f / "unet/config.json").unlink(), "has no unet/ with its configuration"),
    "unet odd config": (lambda f: (f / "unet/config.json").write_text("{"), "unet/config.json is no JSON"),
    "unet other blocks": (
        lambda f: change(f / "unet/config.json", down_block_types=["A", "B"]),
        "unet/: cannot be read",
    ),
    "half a unet": (lambda f: halved(f / UNET), r"unet/.*\.safetensors: cannot be read"),
    "half a vae": (lambda f: halved(f / VAE), r"vae/.*\.safetensors: cannot be read"),
    "empty": (lambda f: (f / UNET).write_bytes(b""), r"unet/.*\.safetensors is empty"),
    "garbage": (lambda f: (f / UNET).write_bytes(b"x" * 999), r"unet/.*\.safetensors: cannot be read"),
    "another shape": (lambda f: reshaped(f / UNET), "unet/: cannot be read"),
    "a tensor less": (
        lambda f: without_a_tensor(f / VAE),
        "vae/: (the weights lack |cannot be read .*the following keys are missing)",
    ),
    "LFS pointer": (lambda f: pointer(f / UNET), "Git LFS pointer.*git lfs pull"),
    "pickled": (lambda f: pickled(f / VAE), "vae/ holds pickled weights only.*only safetensors are read"),
    "odd prediction": (
        lambda f: change(f / "scheduler/scheduler_config.json", prediction_type="flow"),
        "unknown prediction type 'flow'",
    ),
}
OF_NEW_DIFFUSERS = ("a tensor less", "another shape", "odd class", "odd tokenizer")
TEXT_DAMAGE = {
    "no text encoder": (lambda f: shutil.rmtree(f / "text_encoder"), "has no text_encoder/"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer/"),
    "none in the index": (
        lambda f: change(f / "model_index.json", text_encoder=[None, None]),
        "no text encoder",
    ),
    "odd class": (lambda f: change(f / "model_index.json", text_encoder=["transformers", "X"]), "has no X"),
    "half": (lambda f: halved(f / TEXT), r"text_encoder/model\.safetensors: cannot be read"),
    "empty": (lambda f: (f / TEXT).write_bytes(b""), r"text_encoder/model\.safetensors is empty"),
    "another shape": (lambda f: reshaped(f / TEXT), "text_encoder/: "),
    "a tensor less": (lambda f: without_a_tensor(f / TEXT), "text_encoder/: the weights lack "),
    "LFS pointer": (lambda f: pointer(f / TEXT), "Git LFS pointer"),
    "pickled": (lambda f: pickled(f / TEXT), "text_encoder/ holds pickled"),
    "odd tokenizer": (
        lambda f: [(f / "tokenizer" / file).write_text("{") for file in ("tokenizer.json", "vocab.json")],
        "cannot be read",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_one_line_that_names_it(folder, what):
    damage, words = DAMAGE[what]
    damage(folder)
    with pytest.raises(PriorError, match=words) as caught:
        load_model(str(folder))
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=[pytest.mark.new_diffusers] * (what in OF_NEW_DIFFUSERS))
        for what in TEXT_DAMAGE
    ],
)
def test_so_is_damage_to_the_text_encoders(folder, what):
    damage, words = TEXT_DAMAGE[what]
    damage(folder)
    with pytest.raises(PriorError, match=words) as caught:
        embed_prompts(["a mug"], str(folder))
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.new_diffusers
def test_one_half_does_not_need_the_other(folder):
    embeddings = embed_prompts(["a mug"], str(folder))
    shutil.rmtree(folder / "text_encoder")
    model = load_model(str(folder))
    shutil.rmtree(folder / "unet")
    assert torch.equal(model.condition(embeddings)["encoder_hidden_states"], embeddings)


@pytest.mark.new_diffusers
def test_a_variant_of_half_precision_is_loaded_where_there_is_no_other(folder):
    for name in (UNET, VAE, TEXT):
        path = folder / name
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert load_model(str(folder)).resolution == 16
    assert embed_prompts(["a mug"], str(folder)).dtype == torch.float32


@pytest.mark.new_diffusers
def test_weights_written_in_the_names_of_older_transformers_are_found(folder):
    """They prefix every name with the model's own; nothing of them counts as missing."""
    before = embed_prompts(["a mug"], str(folder))
    tensors = load_file(folder / TEXT)
    old = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}
    save_file(old, folder / TEXT, {"format": "pt"})
    torch.testing.assert_close(embed_prompts(["a mug"], str(folder)), before)


def test_plain_weights_are_preferred_and_all_their_shards_are_one():
    shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    others = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/config.json", VAE]
    found, variant = weight_files(listing(*shards, *others), "unet")
    assert (sorted(found), variant) == (shards, None)
    halves = [name.replace("model-0", "model.fp16-0") for name in shards]
    others = ["unet/diffusion_pytorch_model.non_ema.safetensors"]
    found, variant = weight_files(listing(*halves, *others), "unet")
    assert (sorted(found), variant) == (halves, "fp16")


def test_half_precision_takes_the_smaller_files_unless_others_are_here():
    plain, fp16 = UNET, UNET.replace(".safe", ".fp16.safe")
    both = listing(plain, fp16)
    assert weight_files(both, "unet", half=True) == ([fp16], "fp16")
    cached = Source(both.sizes, both.fetch, lambda names: plain in names)
    assert weight_files(cached, "unet", half=True) == ([plain], None)
    assert weight_files(listing(plain), "unet", half=True) == ([plain], None)


def test_a_variant_is_the_one_asked_for_or_none():
    both = listing(UNET, UNET.replace(".safe", ".ema.safe"))
    assert weight_files(both, "unet", variant="ema")[1] == "ema"
    with pytest.raises(PriorError, match="no weights of variant 'bf16': set variant to ema, null, the plain"):
        weight_files(both, "unet", variant="bf16")


@pytest.mark.parametrize(
    ("part", "cls", "values", "told"),
    [
        ("vae", None, {"latents_mean": [0.0] * 4}, r"vae/config.json: latents_mean: .*not known"),
        ("unet", None, {"time_cond_proj_dim": 8}, "config.json: time_cond_proj_dim"),
        ("vae", "AutoencoderKLWan", {}, "vae/: expected the AutoencoderKL of .*, got AutoencoderKLWan"),
        ("scheduler", "EDMEulerScheduler", {}, "EDMEulerScheduler is not known to have noise levels"),
        (
            "scheduler",
            "UniPCMultistepScheduler",
            {"use_flow_sigmas": True},
            "use_flow_sigmas: expected f",
        ),
    ],
)
def test_what_would_be_wrong_in_silence_is_refused(folder, part, cls, values, told):
    """Latents or noise levels of another kind run as well as the right ones."""
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    change(folder / part / name, **values)
    if cls:
        change(folder / "model_index.json", **{part: ["diffusers", cls]})
    if "time_cond_proj_dim" in values:
        weights = load_file(folder / UNET)
        width = weights["time_embedding.linear_1.weight"].shape[1]
        save_file({**weights, "time_embedding.cond_proj.weight": torch.zeros(width, 8)}, folder / UNET)
    with pytest.raises(PriorError, match=told):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda f: shutil.rmtree(f / "vae"),
            r"^system\.guidance\.pretrained_model_name_or_path: .* has no vae/",
        ),
        (lambda f: halved(f / UNET), r"unet/.*\.safetensors: cannot be read"),
        (
            lambda f: change(f / "scheduler/scheduler_config.json", num_train_timesteps="x"),
            "scheduler/: cannot be read",
        ),
    ],
)
def test_damage_is_found_before_anything_is_loaded(folder, damage, told, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", None)
    check_model("system.guidance", str(folder))
    damage(folder)
    with pytest.raises(PriorError, match=told):
        check_model("system.guidance", str(folder))


def test_the_levels_are_the_networks_whatever_the_schedulers_class(folder):
    import diffusers

    config, found = folder / "scheduler/scheduler_config.json", []
    # zeroes the last signal; replaces it by 2^-24; cannot rescale; has no prediction type
    for name in ("DDIM", "DDPM", "EulerDiscrete", "UniPCMultistep", "PNDM", "LMSDiscrete", "RePaint"):
        change(folder / "model_index.json", scheduler=["diffusers", f"{name}Scheduler"])
        change(config, rescale_betas_zero_snr=True, prediction_type="v_prediction")
        scheduler = open_model(str(folder)).scheduler()
        assert isinstance(scheduler, getattr(diffusers, f"{name}Scheduler"))
        found.append(vp_denoiser(torch.nn.Identity(), scheduler, torch.float32))
    for denoiser in found:
        assert denoiser.prediction_type == "v_prediction"
        assert len(denoiser.schedule) == 999
        assert torch.equal(denoiser.schedule.log_sigmas, found[0].schedule.log_sigmas)


def test_a_folder_has_no_revisions(folder):
    with pytest.raises(PriorError, match=r"^system\.guidance\.revision: expected null, as .* is a folder"):
        check_model("system.guidance", str(folder), "main")


@pytest.mark.parametrize("model", [pytest.param("folder", marks=pytest.mark.new_diffusers), "someone/flux"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"distilled_guidance_scale": None},
            "distilled_guidance_scale: expected a number of at least 0",
        ),
        ({"distilled_guidance_scal": 1.0}, "distilled_guidance_scal: unknown key; did you mean"),
    ],
    ids=["value", "name"],
)
def test_options_of_the_family_are_checked_before_anything_is_loaded(pipeline_of, model, options, told):
    model = pipeline_of("flux") if model == "folder" else model
    check_model("system.guidance", model, options={"distilled_guidance_scale": 2.0})
    with pytest.raises(FieldError, match=rf"^system\.guidance\.model_options\.{told}"):
        check_model("system.guidance", model, options=options)


def test_options_that_a_folder_s_family_lacks_are_refused(folder):
    with pytest.raises(FieldError, match="unknown key; known: none"):
        check_model("system.guidance", str(folder), options={"distilled_guidance_scale": 2.0})


def test_a_diffusers_too_old_for_text_alone_is_named(random_pipeline, monkeypatch):
    import diffusers

    monkeypatch.setattr(diffusers, "__version__", "0.32.2")
    with pytest.raises(
        PriorError, match=r"0\.32\.2 loads no text encoders alone: pip install 'diffusers>=0\.33'"
    ):
        embed_prompts(["a mug"], str(random_pipeline))
