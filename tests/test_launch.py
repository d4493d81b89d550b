"""launch.py: errors before anything is loaded, and runs: whole, killed, interrupted and resumed."""

import csv
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import launch
from launcher import host

from .launcher.dummy import CONFIG, at_step, forked, only_dummy, outcome

REPOSITORY = Path(__file__).resolve().parent.parent
STEPS = 40


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)


def run(*overrides, action="--train", config=CONFIG):
    return launch.main(["--config", config, action, *overrides])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sytem.x=1", "sytem: unknown key; did you mean 'system'?"),
        ("data.sise=3", "data.sise: unknown key; did you mean 'size'?"),
        ("system.delya=1", "system.delya: unknown key; did you mean 'delay'?"),
        ("system.guidance.nois=1", "system.guidance.nois: unknown key; did you mean 'noise'?"),
        ("system.guidance.inner.step=1", "system.guidance.inner.step: unknown key; did you mean 'steps'?"),
        ("trainer.max_stepz=1", "trainer.max_stepz: unknown key; did you mean 'max_steps'?"),
        ("checkpoint.save_lost=true", "checkpoint.save_lost: unknown key; did you mean 'save_last'?"),
        ("system.optimizer.args.lrr=1", "system.optimizer.args.lrr: unknown key; did you mean 'lr'?"),
        (
            "data_type=dummy-data",
            "data_type: nothing is registered as 'dummy-data'; did you mean 'dummy-datamodule'?",
        ),
        (
            "system.guidance_type=dumy-guidance",
            "system.guidance_type: nothing is registered as 'dumy-guidance'; did you mean 'dummy-guidance'?",
        ),
        ("system_type=dummy-system:mixin", "system_type: nothing is registered as 'mixin'"),
        (
            "system.optimizer.name=AdmW",
            "system.optimizer.name: torch.optim has no 'AdmW'; did you mean 'AdamW'?",
        ),
        (
            "system.scheduler.schedulers=[{name: LinearLR}, {name: ExponentalLR}]",
            "system.scheduler.schedulers[1].name: torch.optim.lr_scheduler has no 'ExponentalLR'; "
            "did you mean 'ExponentialLR'?",
        ),
        (
            "system.loss.lambda_fit=[0,1]",
            "system.loss.lambda_fit: expected a number, "
            "or [v0, v1, end_step] or [start_step, v0, v1, end_step, ...], "
            "got [0, 1]",
        ),
        (
            "system.loss.lambda_fit=fast",
            "system.loss.lambda_fit: expected a number, "
            "or [v0, v1, end_step] or [start_step, v0, v1, end_step, ...], "
            "got 'fast'",
        ),
        ("system.delay=long", "system.delay: expected a number, got 'long'"),
        ("seed=x", "seed: expected an integer from 0 to 2^32 - 1, got 'x'"),
        ("system.guidance.noise=-1", "system.guidance.noise: noise must not be negative, got -1"),
        ("system_type=", "system_type: no value is given"),
        ("resume=none.ckpt", "resume: no such file: none.ckpt"),
        ("system.weights=none.ckpt", "system.weights: no such file: none.ckpt"),
        ("system.delay=${no.key}", "Interpolation key 'no.key' not found"),
        ("data=[1]", "data: Cannot merge incompatible container types"),
        ("delay", "'delay': expected an override of the form key=value"),
        ("--delay=3", "'--delay=3': expected an override of the form key=value"),
        ("name=../elsewhere", "name, tag, timestamp: the run's folder"),
        ("system.optimizer.params.nett.lr=1", "optimizer.params.nett: the system has no such module"),
        ("system.missing_model=true", "no text_encoder for the model 'no-such/model'"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_leaves_nothing(override, message, capfd, tmp_path):
    assert run("tag=t", override) == 2
    out, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in out + err
    assert not any((tmp_path / "outputs").rglob("*.*"))
    assert not (tmp_path / "outputs/dummy/t").exists()


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


def test_type_checks_need_their_package(monkeypatch, capfd):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "beartype" else found(name))
    assert run("--typecheck", "tag=t") == 2
    assert (
        capfd.readouterr().err
        == "error: --typecheck: the package 'beartype' is missing; pip install beartype\n"
    )


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


@pytest.fixture
def repository(tmp_path):
    """The launcher alone: what a process imports before the host."""
    folder = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "launcher", folder / "launcher")
    shutil.copy(REPOSITORY / "launch.py", folder)
    shared = folder / "custom/threestudio_msd"  # what the launcher has from the extension
    shared.mkdir(parents=True)
    for file in (REPOSITORY / "custom/threestudio_msd").glob("[!_]*.py"):
        shutil.copy(file, shared)
    return folder


def start(repository, threestudio):
    """The exit status and the output of a run, in a process of its own, inside a checkout."""
    command = [sys.executable, str(repository / "launch.py"), "--config", CONFIG, "--train", "tag=t"]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        env={**clean, "THREESTUDIO_ROOT": str(threestudio)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_broken_threestudio_is_an_error_and_no_fall_back(repository, tmp_path):
    package = tmp_path / "checkout/threestudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import no_such_cuda_package")
    status, output = start(repository, tmp_path / "checkout")
    assert status == 2
    first, second = output.splitlines()
    assert first == f"host: threestudio ({package})" or first == "host: threestudio (checkout/threestudio)"
    assert "the package 'no_such_cuda_package' is missing or broken" in second
    status, output = start(repository, tmp_path)
    assert status == 2
    assert (
        output
        == f"error: THREESTUDIO_ROOT: {tmp_path} is not a threestudio checkout (no threestudio/__init__.py)\n"
    )


def test_a_broken_extension_is_an_error(tmp_path, monkeypatch, capfd):
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "broken.py").write_text("import no_such_package")
    (custom / "other_disabled.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(custom)
    monkeypatch.setattr(launch, "import_extensions", lambda: host.import_extensions(custom))
    assert run("tag=t") == 2
    told = "error: extension custom/broken cannot be imported: No module named 'no_such_package'\n"
    assert capfd.readouterr().err == told
