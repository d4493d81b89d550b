"""A hub that does not answer, or is not to be asked: how long until the line that says so."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
import threestudio
from huggingface_hub import constants
from threestudio.utils import hub as hub_module
from threestudio.utils.hub import pretrained_folder

MODEL = ("me/tiny", None, ["tokenizer/*"], [])


@pytest.fixture
def to_port(online, monkeypatch):
    """A setter of the hub's port, with little patience."""
    monkeypatch.setattr(hub_module, "PATIENCE", 0.3)
    return lambda port: online(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def at_most(seconds: float):
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < seconds


def test_a_silent_hub_is_given_up_on(to_port):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        to_port(silent.getsockname()[1])
        with at_most(5), pytest.raises(OSError, match=r"hub cannot be reached: no answer within 0\.3 s"):
            pretrained_folder(*MODEL)


def test_nobody_there_is_said_at_once(to_port):
    to_port(9)
    with at_most(5), pytest.raises(OSError, match="hub cannot be reached"):
        pretrained_folder(*MODEL)


def test_offline_the_hub_is_not_asked(to_port, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_module, "within", lambda *_: pytest.fail("it was asked"))
    with at_most(2), pytest.raises(Exception, match="cache"):
        pretrained_folder(*MODEL)


def test_the_caches_copy_is_taken(to_port, tmp_path):
    commit, folder = "c" * 40, tmp_path / "cache" / "models--me--tiny"
    (folder / "snapshots" / commit / "tokenizer").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    to_port(9)
    assert pretrained_folder(*MODEL) == str(folder / "snapshots" / commit)


def test_the_prompt_processor_says_it_in_one_line(to_port):
    to_port(9)
    settings = {
        "pretrained_model_name_or_path": "me/tiny",
        "prompt": "a mug",
        "use_cache": False,
        "spawn": False,
    }
    with (
        at_most(10),
        pytest.raises(OSError, match=r"no files for the model 'me/tiny'.*cannot be reached") as told,
    ):
        threestudio.find("stable-diffusion-prompt-processor")(settings)()
    assert "\n" not in str(told.value)


def test_the_patience_leaves_a_line_within_ten_seconds():
    from threestudio_msd.priors import sources

    assert max(hub_module.PATIENCE, sources.PATIENCE) <= 9


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gated", r"^it is gated: accept its licence at http.*/me/gated and log in with `hf auth login`$"),
        ("listed", r"^it is gated: accept its licence at http.*/me/listed and log in with `hf auth login`$"),
        ("expired", r"^the hub refuses this machine's token: log in again with `hf auth login`$"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(hub, name, said):
    with pytest.raises(OSError, match=said):
        pretrained_folder(f"me/{name}", None, ["tokenizer/*"], [])
