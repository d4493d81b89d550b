"""Checks of Lightning's settings: the blocks `trainer` and `checkpoint`. Importing this imports Lightning."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from threestudio_msd.errors import UserError
from threestudio_msd.fields import choice, number, shown

from launcher.checks.rules import attempt, check_arguments, check_names, parameters, require_mapping

OWN = {
    "trainer": [
        *("logger", "callbacks", "plugins", "default_root_dir", "barebones", "profiler", "model_registry"),
    ],
    "checkpoint": ["dirpath", "train_time_interval", "enable_version_counter"],
}
"""Settings that the launcher makes itself."""
CLUSTER = {"MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"}
"""The environment of a cluster's job has one of these variables."""

# the others change how many bits the weights of the images and networks have
PRECISIONS = (32, 16, "32", "16", "bf16", "32-true", "16-mixed", "bf16-mixed")
MATMUL, MATMULS = "float32_matmul_precision", ("highest", "high", "medium")
"""The launcher's own key of `trainer`, torch's setting of that name; high is TF32 on a GPU."""
COUNT, UNSIGNED, UNLIMITED = number(least=1), number(least=0), number(least=-1)
RANGES = {
    "precision": (int | str, choice(32, PRECISIONS)),
    "gradient_clip_algorithm": choice(None, ("norm", "value")),
    "overfit_batches": choice(0, (0,)),  # data without end has nothing to overfit on
    "enable_checkpointing": choice(True, (True,)),
    "mode": choice("min", ("min", "max")),
    **dict.fromkeys(("max_steps", "max_epochs", "num_sanity_val_steps", "save_top_k"), UNLIMITED),
    **dict.fromkeys(("check_val_every_n_epoch", "accumulate_grad_batches", "num_nodes"), COUNT),
    **dict.fromkeys(("limit_val_batches", "limit_test_batches", "limit_predict_batches"), UNSIGNED),
    **dict.fromkeys(("min_epochs", "min_steps", "log_every_n_steps", "gradient_clip_val"), UNSIGNED),
    **dict.fromkeys(("reload_dataloaders_every_n_epochs", "every_n_train_steps", "every_n_epochs"), UNSIGNED),
}
"""Ranges that the annotations of `Trainer` and `ModelCheckpoint` do not give."""


def check_training(settings: Mapping[str, Any]) -> None:
    """Checks the blocks `trainer` and `checkpoint` of an experiment.

    Raises:
        UserError: A key or a value is wrong; the message has the full key.
    """
    trainer, checkpoint = settings.get("trainer", {}), settings.get("checkpoint", {})
    if isinstance(trainer, Mapping) and MATMUL in trainer:
        if trainer[MATMUL] not in MATMULS:
            got = shown(trainer[MATMUL])
            raise UserError(f"trainer.{MATMUL}: expected one of {', '.join(MATMULS)}, got {got}")
        trainer = {key: value for key, value in trainer.items() if key != MATMUL}
    _check_block("trainer", Trainer, trainer)
    _check_batches(trainer)
    _check_processes(trainer)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    attempt("trainer", Trainer, {**trainer, **quiet})
    _check_block("checkpoint", ModelCheckpoint, checkpoint)
    _check_filename(checkpoint)
    attempt("checkpoint", ModelCheckpoint, checkpoint)


def _check_block(key: str, cls: type, settings: Any) -> None:
    require_mapping(key, settings)
    for name in OWN[key]:
        if name in settings:
            raise UserError(f"{key}.{name}: cannot be set here: the launcher has its own")
    check_names(key, settings, parameters(cls))
    check_arguments(key, cls, settings, RANGES)


def _check_batches(settings: Mapping[str, Any]) -> None:
    """Checks counts of batches and steps; 1.0, all batches, is Lightning's word for no limit."""
    least = {"limit_train_batches": 1, "val_check_interval": 1}
    least |= dict.fromkeys(("limit_val_batches", "limit_test_batches", "limit_predict_batches"), 0)
    for name in least.keys() & settings.keys():
        value, limit = settings[name], least[name]
        whole = value is None or (isinstance(value, float) and value == 1)
        if not whole and (not isinstance(value, int) or isinstance(value, bool) or value < limit):
            raise UserError(
                f"trainer.{name}: expected an integer of at least {limit}, or 1.0, got {shown(value)}"
            )
    for name in ("max_steps", "max_epochs"):
        if settings.get(name) == 0:
            raise UserError(f"trainer.{name}: expected at least 1, or -1 for without end, got 0")


def _check_processes(settings: Mapping[str, Any]) -> None:
    """Checks how many processes there are: the command line starts them again, or a cluster does."""
    strategy, nodes, devices = settings.get("strategy"), settings.get("num_nodes", 1), settings.get("devices")
    if str(strategy).endswith(("_spawn", "_fork", "_notebook")):
        raise UserError(f"trainer.strategy: expected one without spawning or forking, got {shown(strategy)}")
    if nodes > 1 and not CLUSTER & set(os.environ):
        raise UserError(f"trainer.num_nodes: expected 1 outside a cluster's job, got {nodes}")
    count = len(devices) if isinstance(devices, list) else devices
    there = torch.cuda.device_count() or os.cpu_count() or 1
    if str(count).isdecimal() and not 1 <= int(count) <= there:
        raise UserError(
            f"trainer.devices: expected 1 to {there}, which this machine has, got {shown(devices)}"
        )


def _check_filename(settings: Mapping[str, Any]) -> None:
    name = settings.get("filename")
    if name is not None and (os.path.basename(name) != name or name in ("", ".", "..")):
        raise UserError(f"checkpoint.filename: expected a file's name without a folder, got {name!r}")
    if name == "last":
        raise UserError("checkpoint.filename: expected another name than that of last.ckpt, got 'last'")
    if settings.get("monitor") == "":
        raise UserError("checkpoint.monitor: expected the name of a metric or null, got ''")
