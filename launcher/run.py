"""One run: data, system, callbacks, loggers, trainer."""

import contextlib
import itertools
import logging
import os
import shlex
import shutil
import signal
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from threestudio_msd.errors import NonFiniteError, UserError, first_line

from launcher.bar import RunProgressBar
from launcher.checkpoint import (
    AtomicCheckpointIO,
    FiniteParameters,
    LastCheckpoint,
    MonitoredMetric,
    StepSeed,
)
from launcher.closing import say
from launcher.config import as_config
from launcher.curves import curves
from launcher.processes import is_first
from launcher.resume import ConfiguredRates, require_whole_state
from launcher.saved import require_finite_state, sweep
from launcher.snapshot import CodeSnapshot


def run(
    args: Namespace,
    overrides: list[str],
    settings: dict[str, Any],
    threestudio: ModuleType,
    checkpoint: dict[str, Any] | None = None,
) -> int:
    """Train, validate, test or export, as the arguments say, with settings that have been checked.

    Args:
        args: The launcher's options.
        overrides: The `key=value` on its command line.
        settings: The whole config.
        threestudio: The host.
        checkpoint: What `resume` names, as `check_resumed` has read it.

    Returns:
        The exit status: 0, 130 after Ctrl-C, or 143 after SIGTERM.

    Raises:
        NonFiniteError: NaN or infinity half way.
        UserError: What else ends a run although its settings are right, such as a full disk.
    """
    from threestudio.utils.config import ExperimentConfig, parse_structured
    from threestudio.utils.misc import get_rank

    _quiet()
    cfg = parse_structured(ExperimentConfig, as_config(settings))
    pl.seed_everything(cfg.seed + get_rank(), workers=True)
    args, step = _what_is_left(args, cfg, checkpoint)
    datamodule = threestudio.find(cfg.data_type)(cfg.data)
    system = threestudio.find(cfg.system_type)(cfg.system, resumed=cfg.resume is not None)
    system.set_save_dir(os.path.join(cfg.trial_dir, "save"))
    if checkpoint is not None:
        require_whole_state(system, cfg.resume, checkpoint)
        if not args.train:  # Lightning restores weights there, but neither epoch nor step
            system.set_resume_status(checkpoint["epoch"], checkpoint["global_step"])

    last = LastCheckpoint(
        os.path.join(cfg.trial_dir, "ckpts"), cfg.checkpoint.get("save_last", False), settings
    )
    trainer_settings: dict[str, Any] = {
        "accelerator": "gpu" if torch.cuda.is_available() else "cpu",
        "devices": -1 if torch.cuda.is_available() else 1,
        "inference_mode": False,  # a system may take gradients while it is evaluated
        "plugins": [AtomicCheckpointIO()],
        **OmegaConf.to_container(cfg.trainer),
    }
    trainer_settings["callbacks"] = (
        [RunProgressBar()] if trainer_settings.get("enable_progress_bar", True) else []
    )
    if args.train:
        own = ConfiguredRates(settings["system"].get("optimizer", {}))
        trainer_settings["callbacks"] += [*_training_callbacks(args, cfg, get_rank()), own]
        trainer_settings["callbacks"] += [*_viewer(args, last), last]
        trainer_settings["logger"] = [*curves(cfg.trial_dir, step), *system.get_loggers()]
    else:
        trainer_settings["logger"] = False
    trainer = pl.Trainer(**trainer_settings)
    try:
        with _no_empty_run(cfg.trial_dir, trainer), _told(last):
            _act(args, trainer, system, datamodule, cfg)
    except SystemExit:  # what Lightning makes of Ctrl-C
        if last.stopped and trainer.is_global_zero:
            again = _resume_command(args, overrides, last.path)
            print(f"Stopped at step {trainer.global_step}; go on with: {again}")
        return 128 + (last.stopped or signal.SIGINT)
    if trainer.is_global_zero and not args.validate:
        say(settings, threestudio, cfg.trial_dir)
    return 0


def _what_is_left(
    args: Namespace, cfg: Any, checkpoint: dict[str, Any] | None
) -> tuple[Namespace, int | None]:
    """What is still to do, and the step that a training goes on from: of a finished one, only the test."""
    if not args.train or checkpoint is None:
        return args, None
    step, steps = checkpoint["global_step"], cfg.trainer.get("max_steps", -1)
    say_once = print if is_first() else lambda _: None
    if is_first():  # before the others start, which may be writing later
        sweep(cfg.trial_dir)
    if not 0 <= steps <= step:
        say_once(f"Going on in {cfg.trial_dir} from step {step}.")
        return args, step
    say_once(f"Nothing is left to train: {cfg.resume} is at step {step}, and trainer.max_steps is {steps}.")
    return Namespace(**{**vars(args), "train": False, "test": True}), None


@contextlib.contextmanager
def _told(last: LastCheckpoint) -> Iterator[None]:
    """What ends a run half way, in one line, with how things stand with its checkpoints.

    Raises:
        NonFiniteError: NaN or infinity.
        UserError: A disk that is full, or cannot be written.
    """
    try:
        yield
    except FloatingPointError as error:
        raise NonFiniteError(f"{first_line(error)}; {last.standing()}") from error
    except OSError as error:
        if error.errno is None:  # a library's, of what it could not load
            raise
        raise UserError(
            _of_file(error, os.path.dirname(os.path.dirname(last.path))) + f"; {last.standing()}"
        ) from error


def _of_file(error: OSError, folder: str) -> str:
    """An error of the disk with its file, or, where it does not know that, the folder."""
    return f"{error.filename or folder}: {error.strerror or first_line(error)}"


def _quiet() -> None:
    """Silence what concerns neither the user nor the run: libraries' advertisements and quarrels."""
    noise = ("LeafSpec", "litlogger", "litmodels", "TPU available")
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
    # evaluation needs none of the callbacks that training had
    warnings.filterwarnings("ignore", message=r"Be aware that when using `ckpt_path`")
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(
            lambda record: not any(word in record.getMessage() for word in noise)
        )


@contextlib.contextmanager
def _no_empty_run(folder: str, trainer: pl.Trainer) -> Iterator[None]:
    """Remove the run's folders again if an error ends the run before its first step and they are new."""
    new = not os.path.isdir(folder) or not os.listdir(folder)
    above = list(itertools.takewhile(lambda path: not path.exists(), Path(folder).absolute().parents))
    try:
        yield
    except BaseException:
        if new and trainer.global_step == 0 and trainer.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # another run may have begun there
                for path in above:
                    path.rmdir()
        raise


def _act(args: Namespace, trainer: pl.Trainer, system: Any, datamodule: Any, cfg: Any) -> None:
    if args.train:
        if trainer.is_global_zero:
            _write_command(args, cfg.trial_dir)
        trainer.fit(system, datamodule=datamodule, ckpt_path=cfg.resume)
        require_finite_state({"state_dict": system.state_dict()}, f"at step {trainer.global_step}")
        trainer.test(system, datamodule=datamodule)
        return
    act = trainer.validate if args.validate else trainer.test if args.test else trainer.predict
    act(system, datamodule=datamodule, ckpt_path=cfg.resume)


def _training_callbacks(args: Namespace, cfg: Any, rank: int) -> list[Callback]:
    from threestudio.utils.callbacks import ConfigSnapshotCallback

    folder = Path(cfg.trial_dir)
    return [
        # no version counter: last.ckpt is the last one, also after a resume
        ModelCheckpoint(
            **{"enable_version_counter": False, **cfg.checkpoint, "dirpath": str(folder / "ckpts")}
        ),
        LearningRateMonitor(logging_interval="step"),
        CodeSnapshot(args.config, folder / "code", cfg.exp_root_dir),
        ConfigSnapshotCallback(args.config, _as_written(cfg), str(folder / "configs"), use_version=False),
        StepSeed(cfg.seed, rank),
        FiniteParameters(),
        *([MonitoredMetric(cfg.checkpoint.monitor)] if cfg.checkpoint.get("monitor") else []),
    ]


def _viewer(args: Namespace, last: LastCheckpoint) -> list[Callback]:
    """The page in the browser, where it is asked for; nothing of it is imported else."""
    if getattr(args, "viewer", None) is None:
        return []
    from launcher.viewer import Viewer, ViserPage

    return [Viewer(partial(ViserPage, args.viewer), lambda: last.asked)]


def _as_written(cfg: DictConfig) -> DictConfig:
    """A run's config as a YAML file has it: `as_config` escapes texts once more than that."""
    return OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))


def _write_command(args: Namespace, folder: str) -> None:
    os.makedirs(os.path.join(folder, "tb_logs"), exist_ok=True)
    lines = [shlex.join(["python", *sys.argv]), str(args)]
    Path(folder, "cmd.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _resume_command(args: Namespace, overrides: list[str], checkpoint: str) -> str:
    kept = [override for override in overrides if not override.startswith("resume=")]
    return shlex.join(
        ["python", "launch.py", "--config", args.config, "--train", *kept, f"resume={checkpoint}"]
    )
