"""Checkpoint files: every way in which one can be wrong is told by its name, and litter is swept."""

import hashlib
import os

import pytest
import torch

from launcher import UserError
from launcher.checkpoint import AtomicCheckpointIO
from launcher.saved import checksum_file, damage, named_files, read_checkpoint, sweep

WHOLE = {
    "state_dict": {"net.weight": torch.ones(3)},
    "epoch": 0,
    "global_step": 2,
    "optimizer_states": [{"state": {}, "param_groups": []}],
    "loops": {"fit_loop": {}},
}


@pytest.fixture
def path(tmp_path):
    AtomicCheckpointIO().save_checkpoint(WHOLE, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def complaint(path, key="resume"):
    with pytest.raises(UserError) as caught:
        read_checkpoint(key, str(path))
    line = str(caught.value)
    assert line.startswith(f"{key}: ") and str(path) in line and "\n" not in line
    return line


def test_a_whole_one_is_read(path):
    assert read_checkpoint("resume", str(path))["global_step"] == 2
    assert (
        checksum_file(path).read_text() == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    )


@pytest.mark.parametrize("data", [b"", b"hello\n" * 9, b"PK\x03\x04" + bytes(500)])
def test_what_is_no_checkpoint(path, data):
    path.write_bytes(data)
    assert "is no checkpoint, or only a part of one" in complaint(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_one_that_is_cut_off(path, kept):
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    complaint(path)


def test_missing_files_and_folders(path, tmp_path):
    assert "no such file" in complaint(tmp_path / "none.ckpt")
    assert f"expected a checkpoint, such as {tmp_path}/ckpts/last.ckpt" in complaint(tmp_path)


@pytest.mark.parametrize("checksum", [True, False])
def test_flipped_bits_are_found_with_and_without_the_checksum_beside(path, checksum):
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(3).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    if not checksum:
        checksum_file(path).unlink()
    assert "is damaged" in complaint(path)
    assert "is damaged" in damage(str(path))


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([1, 2], "holds a list"),
        ({"a": 1}, "has no 'state_dict'"),
        ({key: WHOLE[key] for key in ("state_dict", "epoch", "global_step")}, "has no 'optimizer_states'"),
        (
            {**WHOLE, "state_dict": {"net.weight": torch.tensor([1.0, torch.nan])}},
            "net.weight in",
        ),
        (
            {**WHOLE, "optimizer_states": [{"state": {0: torch.tensor(torch.inf)}, "param_groups": []}]},
            "optimizer_states.0",
        ),
        ({**WHOLE, "optimizer_states": []}, "no state of an optimiser"),
        ({**WHOLE, "loops": {}}, "no state of an optimiser and of a loop"),
        *(
            ({**WHOLE, name: value}, f"its '{name}' is no {kind}")
            for name, value, kind in [
                ("state_dict", [1], "dict"),
                ("global_step", "two", "int"),
                ("global_step", -1, "int"),
                ("epoch", True, "int"),
                ("settings", 3, "dict"),
                ("guidance", 3, "dict"),
                ("callbacks", 3, "dict"),
                ("pytorch-lightning_version", 3, "str"),
            ]
        ),
        ({**WHOLE, "state_dict": {"a": 3}}, "holds other things than tensors"),
        (torch.nn.Linear(1, 1), "is no checkpoint of tensors and plain data"),
    ],
)
def test_contents(tmp_path, saved, told):
    torch.save(saved, tmp_path / "x.ckpt")
    assert told in complaint(tmp_path / "x.ckpt")


def test_weights_need_no_optimiser(tmp_path):
    weights = {key: WHOLE[key] for key in ("state_dict", "epoch", "global_step")}
    torch.save(weights, tmp_path / "x.ckpt")
    assert read_checkpoint("system.weights", str(tmp_path / "x.ckpt"))["global_step"] == WHOLE["global_step"]


def test_last_stands_for_the_newest_folder(path, tmp_path):
    (tmp_path / "a@2").mkdir()
    os.replace(path, tmp_path / "a@2/x.ckpt")
    named = named_files({"system": {"weights": f"{tmp_path}/a@LAST/x.ckpt"}})
    assert list(named) == [("system.weights", f"{tmp_path}/a@2/x.ckpt")]
    with pytest.raises(UserError, match=r"^system\.weights: no such file: "):
        list(named_files({"system": {"weights": f"{tmp_path}/b@LAST/x.ckpt"}}))


def test_a_link_has_its_targets_checksum(path, tmp_path):
    (tmp_path / "link.ckpt").symlink_to(path)
    assert checksum_file(tmp_path / "link.ckpt") == checksum_file(path)
    assert damage(str(tmp_path / "link.ckpt")) is None


def test_litter_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "save").mkdir()
    names = ["save/.tmp-x-0.png", ".123-last.ckpt", "last.ckpt.tmp", "save/0.png", ".hidden", "last.ckpt"]
    for name in names:
        (tmp_path / name).write_text("")
    sweep(str(tmp_path))
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"save/0.png", ".hidden", "last.ckpt"}
