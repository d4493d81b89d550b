"""The settings of Lightning's trainer and of its checkpoints."""

import os
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from threestudio_msd.errors import UserError
from threestudio_msd.fields import choice, number, shown

from launcher.rules import attempt, check_arguments, check_names, parameters, refuse, require_mapping

# what the launcher itself sets
OWN_TRAINER = (
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "barebones",
    "profiler",
    "model_registry",
)
CLUSTER = {"MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"}
"""What the environment of a cluster's job has, one of them."""
OWN_CHECKPOINT = ("dirpath", "train_time_interval", "enable_version_counter")

# in others, the images' and networks' own weights would have fewer bits or more
PRECISIONS = (32, 16, "32", "16", "bf16", "32-true", "16-mixed", "bf16-mixed")
COUNT, UNSIGNED = number(least=1), number(least=0)
TRAINER = {
    "accelerator": (str, field()),
    "strategy": (str, field()),
    "max_time": (str | dict | None, field()),
    "precision": (int | str, choice(32, PRECISIONS)),
    "max_steps": (int, number(least=-1)),
    "max_epochs": (int | None, number(least=-1)),
    "min_epochs": UNSIGNED,
    "min_steps": UNSIGNED,
    "log_every_n_steps": UNSIGNED,
    "num_sanity_val_steps": number(least=-1),
    "check_val_every_n_epoch": COUNT,
    "accumulate_grad_batches": (int, COUNT),
    "gradient_clip_val": UNSIGNED,
    "gradient_clip_algorithm": choice(None, ("norm", "value")),
    "limit_val_batches": UNSIGNED,
    "limit_test_batches": UNSIGNED,
    "limit_predict_batches": UNSIGNED,
    "overfit_batches": (int, choice(0, (0,))),  # data without end has nothing to overfit on
    "enable_checkpointing": (bool, choice(True, (True,))),
    "num_nodes": COUNT,
    "reload_dataloaders_every_n_epochs": UNSIGNED,
}
CHECKPOINT = {
    "every_n_train_steps": UNSIGNED,
    "every_n_epochs": UNSIGNED,
    "save_top_k": number(least=-1),
    "mode": choice("min", ("min", "max")),
}


def check_training(settings: Mapping[str, Any]) -> None:
    """Check the blocks `trainer` and `checkpoint` of an experiment.

    Raises:
        UserError: What is wrong, with the full key.
    """
    _check_trainer(settings.get("trainer", {}))
    _check_checkpoint(settings.get("checkpoint", {}))


def _check_trainer(settings: Any) -> None:
    require_mapping("trainer", settings)
    refuse("trainer", settings, OWN_TRAINER)
    check_names("trainer", settings, parameters(Trainer))
    check_arguments("trainer", Trainer, settings, TRAINER)
    for name in ("limit_train_batches", "val_check_interval"):
        _require_batches(f"trainer.{name}", settings.get(name), least=1)
    for name in ("limit_val_batches", "limit_test_batches", "limit_predict_batches"):
        _require_batches(f"trainer.{name}", settings.get(name), least=0)
    for name in ("max_steps", "max_epochs"):
        if settings.get(name) == 0:
            raise UserError(f"trainer.{name}: expected at least 1, or -1 for without end, got 0")
    _check_processes(settings)
    _check_devices(settings.get("devices"))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    attempt("trainer", Trainer, {**settings, **quiet})


def _require_batches(key: str, value: Any, least: int) -> None:
    """Data without end is counted in batches; 1.0, all of it, is Lightning's word for no limit."""
    whole = value is None or (isinstance(value, float) and value == 1)
    if not whole and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise UserError(f"{key}: expected an integer of at least {least}, or 1.0, got {shown(value)}")


def _check_processes(settings: Mapping[str, Any]) -> None:
    """Further processes are started by the command line again, and those of other machines by a cluster."""
    strategy, nodes = settings.get("strategy", "auto"), settings.get("num_nodes", 1)
    if str(strategy).endswith(("_spawn", "_fork", "_notebook")):
        raise UserError(f"trainer.strategy: expected one without spawning or forking, got {shown(strategy)}")
    if nodes > 1 and not CLUSTER & set(os.environ):
        raise UserError(f"trainer.num_nodes: expected 1 outside a cluster's job, got {nodes}")


def _check_devices(devices: Any) -> None:
    count = len(devices) if isinstance(devices, list) else devices
    there = torch.cuda.device_count() or os.cpu_count() or 1
    if isinstance(count, bool) or (str(count).isdecimal() and not 1 <= int(count) <= there):
        raise UserError(
            f"trainer.devices: expected 1 to {there}, which this machine has, got {shown(devices)}"
        )


def _check_checkpoint(settings: Any) -> None:
    require_mapping("checkpoint", settings)
    refuse("checkpoint", settings, OWN_CHECKPOINT)
    check_names("checkpoint", settings, parameters(ModelCheckpoint))
    check_arguments("checkpoint", ModelCheckpoint, settings, CHECKPOINT)
    filename = settings.get("filename")
    if filename is not None and (os.path.basename(filename) != filename or filename in ("", ".", "..")):
        raise UserError(f"checkpoint.filename: expected a file's name without a folder, got {filename!r}")
    if filename == "last":
        raise UserError("checkpoint.filename: expected another name than that of last.ckpt, got 'last'")
    if settings.get("monitor") == "":
        raise UserError("checkpoint.monitor: expected the name of a metric or null, got ''")
    attempt("checkpoint", ModelCheckpoint, settings)
