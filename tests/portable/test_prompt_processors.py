"""Prompts of every direction, Perp-Neg against its definition, and a cache that is never stale."""

import gc
import math
import os
import shutil
import weakref
from pathlib import Path

import pytest
import threestudio
import torch
from safetensors.torch import load_file, save_file
from threestudio.models.prompt_processors import base
from threestudio.utils.config import ConfigError

find = threestudio.find


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model_files(random_pipeline, tmp_path):
    """A model's folder of its own, loaded by every processor."""
    for part in ("tokenizer", "text_encoder"):
        shutil.copytree(random_pipeline / part, tmp_path / "model" / part)
    return str(tmp_path / "model")


@pytest.fixture(scope="module")
def loaded(random_pipeline):
    """The tokenizer and the text encoder, loaded once by the processor's own method."""
    cls = find("stable-diffusion-prompt-processor")
    loader = cls.__new__(cls)
    loader.cfg = cls.Config(pretrained_model_name_or_path=str(random_pipeline))
    loader.device = torch.device("cpu")
    loader.configure_text_encoder()
    return {"tokenizer": loader.tokenizer, "text_encoder": loader.text_encoder}


@pytest.fixture
def model(model_files, loaded, monkeypatch):
    """As `model_files`, for tests of other things than loading."""
    cls = find("stable-diffusion-prompt-processor")
    monkeypatch.setattr(cls, "configure_text_encoder", lambda self: vars(self).update(loaded))
    return model_files


def processor(model, **settings):
    cls = find("stable-diffusion-prompt-processor")
    return cls({"pretrained_model_name_or_path": model, "prompt": "a car", **settings})


def cameras(*degrees):
    """Elevation, azimuth, distance."""
    elevation, azimuth = torch.tensor(degrees, dtype=torch.float32).T
    return elevation, azimuth, torch.full_like(azimuth, 1.5)


def test_prompts_of_the_directions(model):
    made = processor(model)
    assert [d.name for d in made.directions] == ["side", "front", "back", "overhead"]
    assert made.prompts_vd == [
        "a car, side view",
        "a car, front view",
        "a car, back view",
        "a car, overhead view",
    ]
    named = processor(model, view_dependent_prompt_front=True, prompt_back="the rear")
    assert named.prompts_vd == [
        "side view of a car",
        "front view of a car",
        "the rear",
        "overhead view of a car",
    ]
    braces = processor(model, prompt="{x} {0}")
    assert braces.prompts_vd[0] == "{x} {0}, side view"


def test_embeddings_are_the_text_encoders(model_files):
    from transformers import CLIPTextModel, CLIPTokenizer

    made = processor(model_files, negative_prompt="bad")()
    tokenizer = CLIPTokenizer.from_pretrained(model_files, subfolder="tokenizer")
    encoder = CLIPTextModel.from_pretrained(model_files, subfolder="text_encoder").eval()

    def embed(prompt):
        ids = tokenizer(
            prompt, padding="max_length", truncation=True, max_length=8, return_tensors="pt"
        ).input_ids
        return encoder(ids).last_hidden_state.detach()

    assert torch.allclose(made.text_embeddings, embed("a car"), atol=1e-6)
    assert torch.allclose(made.uncond_text_embeddings, embed("bad"), atol=1e-6)
    assert made.text_embeddings_vd.shape == (4, 8, 16)
    assert torch.allclose(made.uncond_text_embeddings_vd, embed("bad").expand(4, -1, -1), atol=1e-6)


def test_the_text_encoder_is_freed(model_files, monkeypatch):
    kept = []
    cls = find("stable-diffusion-prompt-processor")
    destroy = cls.destroy_text_encoder
    monkeypatch.setattr(
        cls, "destroy_text_encoder", lambda self: (kept.append(weakref.ref(self.text_encoder)), destroy(self))
    )
    gc.disable()
    try:
        processor(model_files)
    finally:
        gc.enable()
    assert kept[0]() is None


def test_views_choose_their_embeddings(model):
    made = processor(model)()
    where = cameras((0, 0), (0, 44), (0, -359), (0, 90), (0, 180), (0, -136), (61, 0), (0, 45))
    expected = [1, 1, 1, 0, 2, 2, 3, 0]
    cond, uncond = made.get_text_embeddings(*where).chunk(2)
    assert torch.equal(cond, made.text_embeddings_vd[expected])
    assert torch.equal(uncond, made.uncond_text_embeddings_vd[expected])
    plain, _ = made.get_text_embeddings(*where, view_dependent_prompting=False).chunk(2)
    assert torch.equal(plain, made.text_embeddings.expand(8, -1, -1))


def perp_neg_reference(made, elevation, azimuth):
    """One camera's four embeddings and two weights, straight from the definition."""
    side, front, back, overhead = made.text_embeddings_vd
    uncond = made.uncond_text_embeddings_vd[0]
    if elevation > 60:
        return overhead, uncond, uncond, uncond, 0.0, 0.0

    def decay(coefficients, r):
        a, b, c = coefficients
        return -(a * math.exp(-b * r) + c)

    angle = abs((azimuth + 180) % 360 - 180)
    if angle < 90:
        r = 1 - angle / 90
        pos, neg = r * front + (1 - r) * side, (front, side)
        weights = decay(made.perp_neg_f_fs, r), decay(made.perp_neg_f_sf, 1 - r)
    else:
        r = 2 - angle / 90
        pos, neg = r * side + (1 - r) * back, (side, front)
        weights = decay(made.perp_neg_f_sb, r), decay(made.perp_neg_f_fsb, r)
    return (pos, uncond, *neg, *weights)


def test_perp_neg_is_its_definition(model):
    made = processor(model, use_perp_neg=True)()
    views = [(0, 0), (0, 30), (10, -75), (0, 90), (0, 130), (20, -179), (80, 20), (0, 700)]
    embeddings, weights = made.get_text_embeddings_perp_neg(*cameras(*views))
    positive, uncond, negative = embeddings[:8], embeddings[8:16], embeddings[16:].unflatten(0, (8, 2))
    assert weights.shape == (8, 2)
    for i, view in enumerate(views):
        pos, un, first, second, w0, w1 = perp_neg_reference(made, *view)
        assert torch.allclose(positive[i], pos, atol=1e-5)
        assert torch.equal(uncond[i], un)
        assert torch.equal(negative[i, 0], first)
        assert torch.equal(negative[i, 1], second)
        assert weights[i].tolist() == pytest.approx([w0, w1], abs=1e-5)
    with pytest.raises(ValueError, match="view-dependent"):
        made.get_text_embeddings_perp_neg(*cameras(*views), view_dependent_prompting=False)


def cached():
    return sorted(os.listdir(base.CACHE_DIR)) if os.path.isdir(base.CACHE_DIR) else []


def refuse(self):
    raise AssertionError("the text encoder was loaded")


def test_the_cache_saves_the_text_encoder(model, monkeypatch):
    first = processor(model)
    assert len(cached()) == 6  # prompt, negative prompt, four views
    assert all(
        load_file(os.path.join(base.CACHE_DIR, name))["embedding"].shape == (8, 16) for name in cached()
    )
    monkeypatch.setattr(type(first), "configure_text_encoder", refuse)
    second = processor(model)
    assert torch.equal(second.text_embeddings_vd, first.text_embeddings_vd)
    with pytest.raises(AssertionError, match="was loaded"):
        processor(model, prompt="another car")
    with pytest.raises(AssertionError, match="was loaded"):
        processor(model, revision="v2")


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "garbled": lambda path: path.write_bytes(path.read_bytes()[:-8] + b"flipbits"),
    "text": lambda path: path.write_text("no tensors here"),
    "wrong shape": lambda path: save_file({"embedding": torch.zeros(3)}, path),
    "wrong key": lambda path: save_file({"embeddings": torch.zeros(8, 16)}, path),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_entry_is_computed_again_with_one_warning(model, what, caplog):
    whole = processor(model)
    for name in cached()[:2]:
        DAMAGE[what](Path(base.CACHE_DIR, name))
    with caplog.at_level("WARNING"):
        again = processor(model)
    assert caplog.text.count("Cached text embeddings are damaged and computed again, such as ") == 1
    assert torch.equal(again.text_embeddings_vd, whole.text_embeddings_vd)
    caplog.clear()
    processor(model)
    assert "damaged" not in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(model, tmp_path, caplog):
    (tmp_path / ".threestudio_cache").write_text("a file in the folder's place")
    with caplog.at_level("WARNING"):
        assert processor(model).text_embeddings.shape == (1, 8, 16)
    assert caplog.text.count("Text embeddings are not kept for later runs") == 1


def test_entries_are_as_readable_as_the_umask_says(model):
    before = os.umask(0o002)
    try:
        processor(model)
    finally:
        os.umask(before)
    assert {Path(base.CACHE_DIR, name).stat().st_mode & 0o777 for name in cached()} == {0o664}


def test_without_the_cache_nothing_is_kept(model):
    assert processor(model, use_cache=False).text_embeddings.shape == (1, 8, 16)
    assert cached() == []


def test_a_retrained_text_encoder_is_noticed(model_files):
    before = processor(model_files)
    path = os.path.join(model_files, "text_encoder", "model.safetensors")
    weights = {name: weight + 0.1 for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    after = processor(model_files)
    assert not torch.allclose(before.text_embeddings, after.text_embeddings)


@pytest.mark.parametrize("prompt", ["../../escape", "/etc/passwd", "a" * 5000, "\0\n", "日本"])
def test_a_prompt_never_becomes_a_path(model, prompt, tmp_path):
    processor(model, prompt=prompt)
    assert len(cached()) == 6
    assert all(len(name) == 64 + len(".safetensors") for name in cached())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".threestudio_cache", "model"]


def test_what_a_long_prompt_loses_is_said(model, caplog):
    for _ in range(2):  # computed, then from the cache
        caplog.clear()
        with caplog.at_level("WARNING"):
            processor(model, prompt="a b c d e f g h")
        assert "[a b c d e f g h] is too long for the text encoder, which ignores: g h" in caplog.text


def test_a_missing_model_is_named():
    with pytest.raises(
        OSError, match=r"no files for the model 'no-such/model'.*pretrained_model_name_or_path"
    ):
        processor("no-such/model")


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder"])
def test_damaged_files_are_one_line(model_files, part):
    for path in Path(model_files, part).iterdir():
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OSError, match=f"no {part} for the model") as caught:
        processor(model_files)
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_refused(model_files):
    path = Path(model_files, "text_encoder", "model.safetensors")
    tensors = load_file(path)
    del tensors[min(tensors)]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(OSError, match="its weights lack "):
        processor(model_files)


def test_a_folder_without_a_tokenizer_is_no_model(model_files):
    shutil.rmtree(os.path.join(model_files, "tokenizer"))
    with pytest.raises(OSError, match="no tokenizer for the model"):
        processor(model_files)


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompt: is empty"):
        processor(model, prompt=" ")


def test_the_prompt_library(model, tmp_path):
    with pytest.raises(ConfigError, match="no prompt library"):
        processor(model, prompt="lib:car")
    (tmp_path / "load").mkdir()
    (tmp_path / "load/prompt_library.json").write_text(
        '{"dreamfusion": ["a red car", "a blue car", "a house"]}'
    )
    assert processor(model, prompt="lib:red_car").prompt == "a red car"
    with pytest.raises(ConfigError, match="2 prompts"):
        processor(model, prompt="lib:car")
    for text in ("", "[]", "3", "{}", '{"dreamfusion": [3]}'):
        (tmp_path / "load/prompt_library.json").write_text(text)
        with pytest.raises(ConfigError, match="does not hold"):
            processor(model, prompt="lib:car")
