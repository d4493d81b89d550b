"""What is checked of a config before a model is loaded and a folder is made: every key, by `launch.py`."""

import pytest
import threestudio

from launcher import UserError
from launcher.checks.config import adopted, check_export

from ..dummy import load_dummy, only_dummy, run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)


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
        *(
            (
                f"{key}={name}",
                f"{key}: nothing is registered as '{name}': it belongs to a threestudio or an ext",
            )
            for key, name in (
                ("data_type", "single-image-datamodule"),
                ("data_type", "random-multiview-camera-datamodule"),
                ("system_type", "mvdream-system"),
                ("system_type", "gaussian-splatting-system"),
                ("system.guidance_type", "stable-zero123-guidance"),
            )
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


def test_settings_are_taken_as_the_class_that_replaces_another_takes_them():
    guidance = threestudio.find("msd-guidance")
    assert adopted("system.guidance", guidance, {"half_precision_weights": False}) == {"dtype": "float32"}
    with pytest.raises(UserError, match=r"^system\.guidance\.smpler: unknown key"):
        adopted("system.guidance", guidance, {"smpler": 1})
    assert adopted("data", threestudio.find("msd-image-datamodule"), {"width": 8}) == {"width": 8}


def test_a_system_that_exports_nothing_is_told():
    load_dummy()
    with pytest.raises(UserError, match="--export: system_type dummy-system has nothing to export"):
        check_export({"system_type": "dummy-system"}, threestudio)
    check_export({"system_type": "dreamfusion-system"}, threestudio)
