"""Every wrong input is answered before a model is loaded, in one line that names the key."""

import pytest
import threestudio

from launcher import UserError
from launcher.check import check_export

from .bundled import check_changed, settings_of, yaml_value

GUIDANCE = "system.guidance."
PROMPT = "system.prompt_processor.prompt"
LR, SCHEDULER = "system.optimizer.args.lr", "system.scheduler"

WRONG = {
    # numbers and types of parts
    GUIDANCE + "sampler.steps": ["0", "-1", "2.5", "true", "many", "null", "[8]", ".nan"],
    GUIDANCE + "sampler.kernel_interval": [
        *("[5.0,0.3]", "[.nan,1]", "[5.0]", "[1,2,3]", "null", "word", "3", "[true,2]", "[a,b]"),
    ],
    GUIDANCE + "sampler.rho": ["0", "-1", ".nan"],
    GUIDANCE + "sampler.sigma_max": ["0", "-1", ".inf"],
    GUIDANCE + "sampler.inversion_steps": ["0"],
    GUIDANCE + "sampler.inversion_limit": [".nan", "0"],
    GUIDANCE + "sampler.solver": ["eular"],
    GUIDANCE + "sampler.type": ["splitt", "null", "3"],
    GUIDANCE + "sampler": ["null", "3", "split", "[split]", "true"],
    GUIDANCE + "bandwidth": ["3", "null", "linear", "[1,2]"],
    GUIDANCE + "bandwidth.start": ["true", "1e300", "0", "-1", ".nan", ".inf", "wide", "null"],
    GUIDANCE + "draws_per_estimate": ["1.5", "0", "true"],
    GUIDANCE + "refresh_every": ["0", "1.5"],
    GUIDANCE + "stop_threshold": [".nan", "-1", "never"],
    GUIDANCE + "fixed_noise": ["3", "fixed", "null"],
    GUIDANCE + "dtype": ["float8", "fp16", "3"],
    GUIDANCE + "loss_space": ["pixels"],
    GUIDANCE + "trainer_max_steps": ["-2", "1.5"],
    GUIDANCE + "seed": ["-1", str(2**64)],
    GUIDANCE + "view_dependent_prompting": ["3"],
    "data.n_particles": ["0", "1.5", "many", "null", "true"],
    "data.batch_size": ["0", "3", "half"],
    "data.eval_height": ["1000000000000"],
    "data.width": ["wide", "0", "-3", "64.5", "1000000000"],
    "system.geometry.encoding.scale": ["0", ".nan", "[1]"],
    "system.geometry.init_grey": ["0", "1", ".nan"],
    "system.geometry.activation": ["rellu"],
    "system.progress_every": ["0", "often"],
    "system.path_columns": ["1"],
    # scheduled scalars, of every name
    GUIDANCE + "guidance_scale": [
        "lots",
        ".nan",
        ".inf",
        "[1,2]",
        "null",
        "true",
        "[0,1,2,.nan]",
        "[9,1,2,3]",
        "{a: 1}",
    ],
    "system.loss.lambda_msd": ["lots", ".nan", "-.inf", "[1,2]", "null", "true"],
    "system.loss.lambda_mds": ["1.0"],
    # optimiser
    LR: ["-1", ".nan", ".inf", "abc", "'0,03'", "null", "true", "[0.1]"],
    "system.optimizer.args.betas": ["[0.9]", "[0.9,1]", "[-1,0.9]", "0.9", "[a,b]", "null", "[0.9,.nan]"],
    "system.optimizer.args.eps": ["-1", "small"],
    "system.optimizer.args.weight_decay": ["-1", ".nan"],
    "system.optimizer.args": ["3", "null"],
    "system.optimizer.name": ["AdmW", "null", "3", "Optimizer"],
    "system.optimizer.params": ["3", "null"],
    "system.optimizer.params.geometri": ["{}"],
    "system.optimizer.params.geometry.lr": ["-1", "x"],
    "system.optimizer": ["3", "null"],
    "system.optimizer.args.foreach": ["3"],
    "system.loggers": ["3", "{wand: {}}", "{wandb: {enable: 3}}"],
    "system.weights_ignore_modules": ["3"],
    "system.geometry.weights": ["none", "none.ckpt:geometry", "3"],
    # scheduler
    SCHEDULER: [
        *(
            "3",
            "Step",
            "{name: StepLR}",
            "{name: ReduceLROnPlateau}",
            "{args: {}}",
            "{name: StepLR, args: {step_size: 0}}",
        ),
        *(
            "{name: ExponentialLR, args: {gamma: -1}}",
            "{name: LinearLR, interval: batch}",
            "{name: SequentialLR}",
        ),
        *("{name: SequentialLR, schedulers: [{name: LinearLR}], milestones: [2]}", "{name: LambdaLR}"),
        *("{name: CosineAnnealingLR, args: {T_max: x}}",),
    ],
    # trainer
    "trainer.precision": ["7", "16-true", "bf16-true", "64", "double", "true", "null"],
    "trainer.accelerator": ["quantum", "3"],
    "trainer.devices": ["-3", "0", "999", "many", "1.5"],
    "trainer.strategy": ["dpp", "3"],
    "trainer.val_check_interval": ["0", "-3", "0.5", "often", "true"],
    "trainer.gradient_clip_val": ["-1", ".nan", "x"],
    "trainer.max_steps": ["-2", "1.5", "x", "null"],
    "trainer.max_epochs": ["-2", "x"],
    "trainer.limit_train_batches": ["0", "0.5", "-1"],
    "trainer.log_every_n_steps": ["-1", "x"],
    "trainer.accumulate_grad_batches": ["0", "2", "x"],
    "trainer.logger": ["false", "true"],
    "trainer.callbacks": ["[]"],
    "trainer.enable_checkpointing": ["false"],
    "trainer.fast_dev_run": ["x"],
    "trainer.deterministic": ["maybe", "3"],
    "trainer.benchmark": ["maybe"],
    "trainer.max_time": ["abc"],
    "trainer": ["3", "null", "[1]"],
    # checkpoint
    "checkpoint.every_n_train_steps": ["-1", "x", "1.5"],
    "checkpoint.save_top_k": ["-2", "2", "x"],
    "checkpoint.filename": ["../../x", "/tmp/x", "a/b", "3"],
    "checkpoint.mode": ["mean"],
    "checkpoint.save_last": ["sometimes"],
    "checkpoint.dirpath": ["/tmp"],
    "checkpoint.verbose": ["3"],
    "checkpoint": ["3", "null"],
    # the experiment
    "seed": ["-1", str(2**64), "1.5", "x", "true", "null"],
    "use_timestamp": ["x"],
    "name": ["../x", "", "a" * 300],
    "exp_root_dir": ["/proc/x"],
    "data_type": ["msd-image-data", "''", "3"],
    "system_type": ["msd-imag-system"],
    "system.geometry_type": ["msd-image-mpl", "null"],
    "system": ["null", "3", "[]"],
    "data": ["null", "3"],
    "resume": ["nowhere.ckpt", "."],
    "system.weights": ["nowhere.ckpt"],
    "trainer.max_stepz": ["1"],
    "sytem": ["1"],
    # prompts
    PROMPT: ["", "  "],
    "system.prompt_processor.use_perp_neg": ["x"],
    "system.prompt_processor.front_threshold": [".nan", "-1", "x"],
}
"""Values that each key of `msd-tiny.yaml` refuses, as a command line gives them."""

ELSEWHERE = [
    ("vsd-tiny", "system.guidance.camera_condition_type=extrinsics"),
    ("vsd-tiny", "system.guidance.camera_dropout=2"),
    ("vsd-tiny", "system.guidance.lora_rank=0"),
    ("vsd-tiny", "system.guidance.min_step_percent=0.99"),
    ("vsd-tiny", "system.loss.lambda_lora=true"),
    ("sdi-tiny", "system.guidance.inversion_eta=.nan"),
    ("sdi-tiny", "system.guidance.inversion_n_steps=0"),
    ("sds-tiny", "system.guidance.max_step_percent=1.5"),
    ("sds-tiny", "system.guidance.min_step_percent=[0,true,1,2]"),
    ("ism-tiny", "system.guidance.interval_percent=0"),
    ("msd-nerf-tiny", "system.loss.lambda_tvv=1"),
]


def complaint(config: str, key: str, value: object) -> str:
    """What the launcher says of a bundled config with one other value."""
    with pytest.raises(UserError) as caught:
        check_changed(config, key, value)
    return str(caught.value)


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_one_line_with_the_whole_key(key):
    for text in WRONG[key]:
        line = complaint("msd-tiny", key, yaml_value(text))
        assert key in line, (text, line)
        assert "\n" not in line and len(line) < 700, (text, line)


@pytest.mark.parametrize(("config", "override"), ELSEWHERE)
def test_wrong_values_of_the_siblings(config, override):
    key, _, text = override.partition("=")
    assert key in complaint(config, key, yaml_value(text))


def test_nothing_to_export_is_told():
    with pytest.raises(UserError, match="--export: system_type msd-image-system has nothing to export"):
        check_export(settings_of("msd-tiny"), threestudio)
