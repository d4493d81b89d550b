"""Models from the hub: downloaded, cached, missing, gated, unreachable; it is a server in this process."""

from __future__ import annotations

import shutil
import time

import pytest
from hub_server import REFUSALS
from huggingface_hub import constants
from threestudio_msd.priors import PriorError, embed_prompts, load_model, sources

PATIENCE = sources.PATIENCE


@pytest.mark.new_diffusers
def test_a_half_of_the_model_is_downloaded_and_kept(hub, monkeypatch):
    for name in ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"):
        (hub.folder / "unet" / name).write_bytes(b"never asked for")
    assert load_model("me/tiny").resolution == 16
    parts = {name.split("/")[0] for name in hub.served}
    assert parts == {"model_index.json", "unet", "vae", "scheduler"}
    assert not any("fp16" in name or name.endswith(".bin") for name in hub.served)
    hub.served.clear()
    assert embed_prompts(["a mug"], "me/tiny").shape == (1, 8, 16)
    assert {name.split("/")[0] for name in hub.served} == {"text_encoder", "tokenizer"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # and now it is in the cache
    assert load_model("me/tiny").resolution == 16


@pytest.mark.new_diffusers
def test_half_precision_downloads_half_as_much(hub):
    plain = hub.folder / "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(plain, plain.with_suffix(".fp16.safetensors"))
    load_model("me/tiny", dtype="float16")
    weights = [name for name in hub.served if "unet" in name and name.endswith("safetensors")]
    assert set(weights) == {"unet/diffusion_pytorch_model.fp16.safetensors"}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_hub_refuses_is_told(hub, name):
    with pytest.raises(PriorError, match=REFUSALS[name][2]) as caught:
        load_model(f"me/{name}")
    assert str(caught.value).startswith(f"me/{name}: ")
    assert "\n" not in str(caught.value)


def test_an_id_that_moved_is_taken_by_its_new_name_unless_it_is_cached(hub, monkeypatch, caplog):
    monkeypatch.setitem(sources.MOVED, "me/gone", ("me/tiny", "May 2020"))
    assert load_model("me/gone").resolution == 16
    assert caplog.messages == ["me/gone is gone from the hub since May 2020: taking me/tiny"]
    monkeypatch.setitem(sources.MOVED, "me/tiny", ("me/gone", "May 2020"))
    assert load_model("me/tiny").resolution == 16  # it is in the cache
    assert sources.current_id("stabilityai/stable-diffusion-2-1-base", "v9").startswith("sd2-community/")


def test_a_hub_that_does_not_answer_is_given_up_on(online, monkeypatch):
    import socket

    monkeypatch.setattr(sources, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        online(f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.perf_counter()
        with pytest.raises(PriorError, match=r"me/tiny@v1: the hub cannot be reached.*hf download me/tiny"):
            load_model("me/tiny", "v1")
    assert time.perf_counter() - start < 3
    assert PATIENCE <= 9


def test_the_cache_is_used_where_the_hub_cannot_be_reached(hub, online):
    load_model("me/tiny")
    online("http://127.0.0.1:9")  # nobody listens there
    assert load_model("me/tiny").resolution == 16
    with pytest.raises(
        PriorError, match=r"has no tokenizer/.*from the hub's cache, as the hub cannot be reached"
    ):
        embed_prompts(["a mug"], "me/tiny")


def test_offline_is_said_at_once():
    start = time.perf_counter()
    with pytest.raises(
        PriorError, match=r"no-such/model: HF_HUB_OFFLINE is set.*pretrained_model_name_or_path"
    ):
        load_model("no-such/model")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("model", ["", " ", 5, None, "missing/folder/here", "./missing", "a b"])
def test_what_is_neither_folder_nor_id_is_refused(model):
    with pytest.raises(PriorError, match="expected a folder or "):
        load_model(model)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(PriorError, match="no such folder"):
        load_model(str(tmp_path / "model.safetensors"))


def test_a_call_may_fail_or_take_too_long():
    assert sources.within(1, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        sources.within(1, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        sources.within(0.05, lambda: time.sleep(0.5))
