"""launch.py: errors before anything is loaded, and runs: whole, killed, interrupted and resumed."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from forks import forked
from omegaconf import OmegaConf

import launch

from .launcher.dummy import CONFIG, at_step, only_dummy, outcome

STEPS = 40


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)


def run(*overrides, action="--train", config=CONFIG):
    return launch.main(["--config", config, action, *overrides])


def test_a_value_that_is_left_open_is_named(capfd):
    assert run() == 2
    assert capfd.readouterr().err == "error: tag: no value is given; append tag=...\n"


def test_files_that_are_missing_or_malformed(capfd, tmp_path):
    assert run(config="none.yaml") == 2
    assert capfd.readouterr().err == "error: --config none.yaml: no such file\n"
    (tmp_path / "broken.yaml").write_text("name: [1, 2\n")
    assert run(config="broken.yaml") == 2
    assert capfd.readouterr().err.startswith("error: broken.yaml, line 2, column 1: ")


def test_the_command_line_itself(capfd):
    for argv in (["--train"], ["--config", CONFIG], ["--config", CONFIG, "--train", "--test"]):
        with pytest.raises(SystemExit) as caught:
            launch.main(argv)
        assert caught.value.code == 2
    args, overrides = launch.parse_args(
        ["--config", "a.yaml", "--train", "--gpu", "1,2", "seed=1", "tag=a b"]
    )
    assert (args.config, args.gpu, args.train, args.test) == ("a.yaml", "1,2", True, False)
    assert overrides == ["seed=1", "tag=a b"]


def test_verbose_shows_where_an_error_is_raised(capfd):
    assert launch.main(["--config", CONFIG, "--train", "--verbose", "tag=t", "seed=x"]) == 2
    assert "Traceback" in capfd.readouterr().err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        only_dummy(patch, folder)
        assert run("tag=whole") == 0
    return folder / "outputs/dummy/whole"


def test_a_run_writes_threestudios_folders(whole):
    assert {entry.name for entry in whole.iterdir()} >= {
        "ckpts",
        "configs",
        "save",
        "tb_logs",
        "csv_logs",
        "cmd.txt",
    }
    saved = sorted(entry.name for entry in (whole / "save").iterdir())
    assert saved == ["it10-val.json", "it20-val.json", "it30-val.json", "it40-test.json", "it40-val.json"]
    assert sorted(entry.name for entry in (whole / "ckpts").iterdir()) == [
        "epoch=0-step=40.ckpt",
        "epoch=0-step=40.ckpt.sha256",
        "last.ckpt",
        "last.ckpt.sha256",
    ]
    assert (whole / "configs/raw.yaml").read_text() == Path(CONFIG).read_text()
    assert OmegaConf.load(whole / "configs/parsed.yaml").tag == "whole"
    with (whole / "csv_logs/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    bandwidths = [float(row["train/bandwidth"]) for row in rows if row["train/bandwidth"]]
    assert len(bandwidths) == 8
    assert bandwidths == sorted(bandwidths, reverse=True)


def test_a_checkpoint_is_plain_data(whole):
    checkpoint = torch.load(whole / "ckpts/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["name"] == "net"


def test_a_seed_gives_the_same_run_again(whole):
    assert run("tag=again") == 0
    assert outcome("again") == outcome(whole)
    assert run("tag=other", "seed=4") == 0
    assert outcome("other") != outcome("again")


@pytest.mark.parametrize(("action", "name"), [("--validate", "it40-val"), ("--test", "it40-test")])
def test_a_checkpoint_is_evaluated_at_its_step(whole, action, name):
    assert run("tag=eval", f"resume={whole}/ckpts/last.ckpt", action=action) == 0
    saved = [entry.name for entry in Path("outputs/dummy/eval/save").iterdir()]
    assert saved == [f"{name}.json"]
    assert outcome("eval", name) == outcome(whole, name)


def test_nan_ends_a_run_and_leaves_its_last_checkpoint(whole, capfd):
    assert run("tag=nan", "system.fail_at=25") == 1
    assert "error: NaN in the target at step 25" in capfd.readouterr().err
    assert torch.load("outputs/dummy/nan/ckpts/last.ckpt", weights_only=True)["global_step"] == 20
    assert run("tag=nan", "resume=outputs/dummy/nan/ckpts/last.ckpt") == 0
    assert outcome("nan") == outcome(whole)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(whole):
    often, last = "checkpoint.every_n_train_steps=3", "outputs/dummy/killed/ckpts/last.ckpt"

    def killed():
        at_step(pytest.MonkeyPatch(), 19, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return run("tag=killed", often)

    status, output = forked(killed)
    assert status == -signal.SIGKILL, output
    assert output.startswith("host: portable threestudio (")
    assert torch.load(last, weights_only=True)["global_step"] == 18
    assert run("tag=killed", f"resume={last}", often) == 0
    assert outcome("killed") == outcome(whole)
    assert torch.load(last, weights_only=True)["global_step"] == STEPS
