"""Every wrong input is answered before a model is loaded, in one line that names the key."""

import pytest
import threestudio

from launcher import UserError
from launcher.checks.config import check, check_export
from launcher.config import read_plain

from .bundled import CONFIGS, changed, check_changed, settings_of, yaml_value

GUIDANCE = "system.guidance."
PROMPT = "system.prompt_processor.prompt"
MODEL = "system.prompt_processor.pretrained_model_name_or_path"
LR, SCHEDULER = "system.optimizer.args.lr", "system.scheduler"

WRONG = {
    # numbers and types of parts
    GUIDANCE + "sampler.steps": [
        *("0", "-1", "2.5", "true", "many", "null", "[8]", ".nan", "10000000", str(2**63)),
    ],
    GUIDANCE + "sampler.kernel_interval": [
        *("[5.0,0.3]", "[.nan,1]", "[5.0]", "[1,2,3]", "null", "word", "3", "[true,2]", "[a,b]"),
        *("[.inf,.inf]", "[0.3,0.3]", "[-1,5]"),
    ],
    GUIDANCE + "sampler.rho": ["0", "-1", ".nan", "1e-320", "1e300"],
    GUIDANCE + "sampler.sigma_max": ["0", "-1", ".inf", "1e300", "1e-300"],
    GUIDANCE + "sampler.inversion_steps": ["0"],
    GUIDANCE + "sampler.inversion_limit": [".nan", "0"],
    GUIDANCE + "sampler.solver": ["eular"],
    GUIDANCE + "sampler.type": ["splitt", "null", "3"],
    GUIDANCE + "sampler": ["null", "3", "split", "[split]", "true"],
    GUIDANCE + "bandwidth": ["3", "null", "linear", "[1,2]"],
    GUIDANCE + "bandwidth.start": ["true", "1e300", "0", "-1", ".nan", ".inf", "wide", "null"],
    GUIDANCE + "bandwidth.end": ["0", "1e-300", ".nan"],
    GUIDANCE + "draws_per_estimate": ["1.5", "0", "true", "1000000000"],
    GUIDANCE + "pretrained_model_name_or_path": ["5", "null", "true", "'5'", "a/b/c", "/etc", "''"],
    GUIDANCE + "revision": ["5", "main"],
    GUIDANCE + "refresh_every": ["0", "1.5"],
    GUIDANCE + "stop_threshold": [".nan", "-1", "never"],
    GUIDANCE + "last_fit": [".nan", "-0.1", "1", "long"],
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
    "system.geometry.encoding.per_level_scale": ["0", ".nan", "[1]"],
    "system.geometry.init_grey": ["0", "1", ".nan"],
    "system.geometry.activation": ["rellu", "conv2d", "3"],
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
    "system.optimizer.params": ["3", "null", "{0: {}}"],
    "system.optimizer.params.geometri": ["{}"],
    "system.optimizer.params.geometry.lr": ["-1", "x"],
    "system.optimizer": ["3", "null"],
    "system.optimizer.args.foreach": ["3"],
    "system.loggers": ["3", "{wand: {}}", "{wandb: {enable: 3}}", "{wandb: {enable: true}}"],
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
        *("{name: CosineAnnealingLR, args: {T_max: x}}", "{name: MultiStepLR, args: {milestones: x}}"),
        *("{name: MultiStepLR, args: {milestones: [3, 1]}}", "{name: OneCycleLR, args: {total_steps: 9}}"),
        "{name: OneCycleLR, args: {max_lr: -1, total_steps: 100}}",
        "{name: OneCycleLR, interval: step, args: {max_lr: 0.1, total_steps: 10}}",  # ends before the run
        "{name: CyclicLR, args: {base_lr: x, max_lr: 0.1}}",
    ],
    # trainer
    "trainer.precision": ["7", "16-true", "bf16-true", "64", "double", "true", "null"],
    "trainer.accelerator": ["quantum", "3"],
    "trainer.devices": ["-3", "0", "999", "many", "1.5"],
    "trainer.strategy": ["dpp", "3", "ddp_spawn", "ddp_notebook"],
    "trainer.val_check_interval": ["0", "-3", "0.5", "often", "true"],
    "trainer.gradient_clip_val": ["-1", ".nan", "x"],
    "trainer.max_steps": ["-2", "1.5", "x", "null", "0"],
    "trainer.max_epochs": ["-2", "x", "0"],
    "trainer.num_nodes": ["0", "2"],
    "trainer.limit_val_batches": ["0.5", "-1"],
    "trainer.limit_test_batches": ["0.5", "x"],
    "checkpoint.monitor": ["''", "3"],
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
    "checkpoint.filename": ["../../x", "/tmp/x", "a/b", "3", "last", ".."],
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
    MODEL: ["5", "null", "true", "'5'", "a/b/c", "/etc", "''"],
    "system.prompt_processor.revision": ["5", "main"],
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
    ("vsd-tiny", "system.guidance.lora_rank=1000000"),
    ("sdi-tiny", "system.guidance.inversion_eta=1e300"),
    ("sds-tiny", "system.guidance.min_step_percent=[0,0.1,0.99,10]"),  # above max_step_percent in the end
    ("msd-nerf-tiny", "system.loss.lambda_tvv=1"),
    ("msd-nerf-tiny", "system.loss.lambda_orient=1"),  # no-material has no normals
    ("msd-nerf-tiny", "system.loss.lambda_opaque=[1,2]"),
    ("msd-nerf-tiny", "system.loss.lambda_tv=.nan"),
    ("msd-nerf-tiny", "system.optimizer.params.geometri={}"),
    ("msd-nerf-tiny", "system.background.color=[2,0,0]"),
    ("msd-nerf-tiny", "system.background.color=red"),
    ("msd-nerf-tiny", "system.geometry.isosurface_method=foo"),
    ("msd-nerf-tiny", "system.geometry.isosurface_threshold=x"),
    ("msd-nerf-tiny", "system.geometry.radius=1e300"),
    ("msd-nerf-tiny", "system.geometry.sizes=[1]"),
    ("msd-nerf-tiny", "system.renderer.num_samples_per_ray=1000000000"),
    ("msd-nerf-tiny", "system.exporter.save_name=../../x"),
    ("msd-nerf-tiny", "system.exporter.fmt=stl"),
    ("msd-nerf-tiny", "data.camera_distance_range=[1e9,1e9]"),
    ("msd-nerf-tiny", "data.elevation_range=[70,-10]"),
    ("msd-nerf-tiny", "data.fovy_range=[170,190]"),
    ("msd-nerf-tiny", "data.cameras_per_round=25"),
    ("msd-nerf-tiny", "data.eval_width=1000000000"),
    ("msd-nerf-tiny", "data.n_test_views=100000000"),
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


def test_the_kernel_must_act_somewhere(random_pipeline):
    sampler = {"type": "split", "steps": 4, "kernel_interval": [1000, 2000]}
    settings = {"pretrained_model_name_or_path": str(random_pipeline), "trainer_max_steps": 9}
    with pytest.raises(UserError, match=r"^system\.guidance\.sampler\.kernel_interval: expected one that"):
        threestudio.find("msd-guidance")({**settings, "sampler": sampler})


@pytest.mark.parametrize(("word", "meant"), [("fp16", "float16"), ("half", "float16"), ("BF16", "bfloat16")])
def test_other_names_of_a_dtype_say_which_is_meant(word, meant):
    assert f"did you mean '{meant}'?" in complaint("msd-tiny", GUIDANCE + "dtype", word)


@pytest.mark.parametrize("key", ["n_gpus", "exp_dir", "trial_name", "trial_dir"])
def test_what_follows_from_other_settings_cannot_be_set(key):
    with pytest.raises(UserError, match=f"^{key}: cannot be set: it follows from"):
        read_plain(str(CONFIGS / "msd-tiny.yaml"), [f"{key}=3"])


def test_what_refers_to_a_wrong_length_is_not_what_is_named():
    with pytest.raises(UserError, match=r"^trainer\.max_steps: expected an integer"):
        read_plain(str(CONFIGS / "msd-nerf-tiny.yaml"), ["trainer.max_steps=x"])


def test_a_message_is_one_line_whatever_it_quotes():
    assert str(UserError("no such file: a\nb")) == r"no such file: a\nb"


def test_cameras_that_come_again_are_needed_by_what_is_remembered():
    settings = changed(settings_of("sds-nerf-sd"), "system.guidance_type", "msd-guidance")
    settings = changed(settings, "system.loss.lambda_msd", 1.0)
    with pytest.raises(UserError, match=r"^system\.guidance\.fixed_noise: belongs to cameras that come"):
        check(changed(settings, "system.guidance.fixed_noise", True), threestudio)


def test_nothing_to_export_is_told():
    with pytest.raises(UserError, match="--export: system_type msd-image-system has nothing to export"):
        check_export(settings_of("msd-tiny"), threestudio)
