import os

import pytest
import torch
from safetensors.torch import load_file
from threestudio_msd.files import save_state, save_tensors, save_text, write_whole


def test_files_appear_whole_in_new_folders(tmp_path):
    save_text("schön", tmp_path / "a/b.txt")
    save_tensors({"x": torch.ones(2)}, tmp_path / "a/x.safetensors")
    save_state({"step": 3}, tmp_path / "a/state.pt")
    assert (tmp_path / "a/b.txt").read_text(encoding="utf-8") == "schön"
    assert torch.equal(load_file(tmp_path / "a/x.safetensors")["x"], torch.ones(2))
    assert torch.load(tmp_path / "a/state.pt", weights_only=True) == {"step": 3}
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    save_text("old", tmp_path / "a.txt")

    def fail(aside):
        aside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a.txt", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_tensors_are_as_readable_as_the_umask_says(tmp_path):
    before = os.umask(0o002)
    try:
        save_tensors({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o664
