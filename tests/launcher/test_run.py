"""Runs that end half way: signals, a full disk, NaN; each in one line, with the checkpoint kept."""

import os
import signal

import pytest
import torch

from launcher.saved import damage

from .dummy import FOLDER, at_step, error, only_dummy, outcome, run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(signum, status, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        at_step(patch, 12, lambda: os.kill(os.getpid(), signum))
        assert run("tag=stopped") == status
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    last = FOLDER / "stopped/ckpts/last.ckpt"
    assert "Stopped at step 13; go on with: python launch.py --config" in out
    assert f"resume={last}" in out
    assert torch.load(last, weights_only=True)["global_step"] == 13
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert run("tag=stopped", f"resume={last}") == 0
    assert run("tag=whole") == 0
    assert outcome("stopped") == outcome("whole")


def test_a_full_disk_is_one_line_with_the_file(monkeypatch, capfd):
    saves = []

    def fsync(handle):
        saves.append(handle)
        if len(saves) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    assert run("tag=full") == 2
    last = FOLDER / "full/ckpts/last.ckpt"
    told = f"error: {last}: No space left on device; the last checkpoint, {last}, is intact"
    assert error(capfd) == told
    assert damage(str(last)) is None
    assert torch.load(last, weights_only=True)["global_step"] == 10
    assert not list(FOLDER.rglob(".*"))


def test_memory_that_is_full_is_one_line_with_what_saves_some(monkeypatch, capfd):
    def fill():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has\nless.")

    at_step(monkeypatch, 12, fill)
    assert run("tag=large", "trainer.float32_matmul_precision=medium") == 1
    line, last = error(capfd), FOLDER / "large/ckpts/last.ckpt"
    assert line.startswith("error: CUDA out of memory. Tried to allocate 2.00 GiB: lower data.batch_size")
    assert "system.guidance.loss_space=image" in line
    assert line.endswith(f"; the last checkpoint, {last}, is intact")
    assert damage(str(last)) is None
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("rate", ["1e30", "1e20"])
def test_a_step_that_spoils_the_parameters_is_neither_saved_nor_shown(rate, capfd):
    assert (
        run("tag=spoilt", f"system.optimizer.params.net.lr={rate}", "checkpoint.every_n_train_steps=1") == 1
    )
    line = error(capfd)
    assert "net." in line and "after step" in line
    for path in (FOLDER / "spoilt/ckpts").glob("*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(value.abs().max() < 1e18 for value in weights.values())
    assert not (FOLDER / "spoilt/save").exists()


def test_before_the_first_checkpoint_none_is_promised(capfd):
    assert run("tag=early", "system.fail_at=5") == 1
    assert error(capfd) == "error: NaN in the target at step 5; no checkpoint was saved"


def test_a_damaged_checkpoint_is_not_called_intact(monkeypatch, capfd):
    last = FOLDER / "t/ckpts/last.ckpt"
    at_step(monkeypatch, 24, lambda: last.write_bytes(last.read_bytes()[:-9]))
    assert run("tag=t", "system.fail_at=25") == 1
    assert error(capfd).endswith(f"; {last} is no checkpoint, or only a part of one")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("train/loss_fit", ""),
        ("train/los_fit", "'train/los_fit' is not logged; did you mean 'train/loss_fit'?"),
        ("accuracy", "'accuracy' is not logged; logged: train/bandwidth, train/loss_fit"),
        ("val/loss", "'val/loss' is not logged"),
    ],
)
def test_a_monitored_metric_must_be_logged(name, told, capfd):
    status = run("tag=monitored", f"checkpoint.monitor={name}", "checkpoint.save_top_k=1")
    assert status == (2 if told else 0)
    if told:
        assert f"checkpoint.monitor: {told}" in error(capfd)
        assert FOLDER.exists() == name.startswith("val")  # which only validation shows
