"""Checkpoints are whole or not there, finite, plain data, and readable by whom the umask lets read."""

import os
import stat

import pytest
import torch
from omegaconf import OmegaConf
from threestudio_msd.errors import NonFiniteError

from launcher.checkpoint import AtomicCheckpointIO, LastCheckpoint, plain
from launcher.saved import damage


def left_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_failed_save_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "ckpts/last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"global_step": 1, "args": OmegaConf.create({"betas": [0.9, 0.99]})}, path)
    with pytest.raises(AttributeError):
        io.save_checkpoint({"global_step": 2, "bad": lambda: None}, path)
    assert io.load_checkpoint(path) == {"global_step": 1, "args": {"betas": [0.9, 0.99]}}
    assert left_in(path.parent) == ["last.ckpt", "last.ckpt.sha256"]


def test_what_is_not_finite_is_not_saved(tmp_path):
    path = tmp_path / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"global_step": 1}, path)
    for bad in (
        {"state_dict": {"net.weight": torch.tensor([torch.inf])}},
        {"optimizer_states": [{"state": {0: {"exp_avg": torch.tensor(torch.nan)}}}]},
    ):
        with pytest.raises(NonFiniteError, match="at step 2 is NaN or infinite"):
            io.save_checkpoint({"global_step": 2, **bad}, path)
    assert io.load_checkpoint(path) == {"global_step": 1}
    assert damage(str(path)) is None


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"global_step": 1}, path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        io.save_checkpoint({"global_step": 2}, path)
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert io.load_checkpoint(path) == {"global_step": 1}
    assert damage(str(path)) is None
    assert left_in(tmp_path) == ["last.ckpt", "last.ckpt.sha256"]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    for umask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        previous = os.umask(umask)
        try:
            AtomicCheckpointIO().save_checkpoint({"global_step": 1}, tmp_path / "x.ckpt")
        finally:
            os.umask(previous)
        for name in left_in(tmp_path):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_a_removed_checkpoint_takes_its_checksum_along(tmp_path):
    io = AtomicCheckpointIO()
    io.save_checkpoint({"global_step": 1}, tmp_path / "x.ckpt")
    io.remove_checkpoint(tmp_path / "x.ckpt")
    assert left_in(tmp_path) == []


def test_how_things_stand_is_said_as_it_is(tmp_path):
    last = LastCheckpoint(str(tmp_path), True, {})
    assert last.standing() == "no checkpoint was saved"
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    assert last.standing() == f"the last checkpoint, {path}, is intact"
    path.write_bytes(path.read_bytes()[:-9])
    assert last.standing() == f"{path} is no checkpoint, or only a part of one"


def test_config_nodes_become_plain():
    node = OmegaConf.create({"a": [1, {"b": 2}]})
    assert plain({"x": (node, 3), "y": [node.a]}) == {"x": ({"a": [1, {"b": 2}]}, 3), "y": [[1, {"b": 2}]]}
