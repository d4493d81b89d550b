"""One run: data, system, callbacks, loggers, trainer."""

import contextlib
import gc
import itertools
import logging
import os
import shlex
import shutil
import signal
import sys
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
    ConfiguredRates,
    FiniteParameters,
    LastCheckpoint,
    MonitoredMetric,
    StepSeed,
)
from launcher.checks.trainer import MATMUL
from launcher.config import as_config
from launcher.curves import curves
from launcher.folder import is_first
from launcher.forecast import forecast_test
from launcher.lock import LOCK, alone_in
from launcher.messages import quiet, say, say_model_and_prompt, say_results
from launcher.resume import require_whole_state
from launcher.saved import require_finite_state, sweep
from launcher.snapshot import CodeSnapshot

LESS_MEMORY = (
    "lower data.batch_size (of particles, raise trainer.accumulate_grad_batches with it), or set "
    "system.guidance.enable_vae_gradient_checkpointing=true, system.guidance.loss_space=image or "
    "system.guidance.tiny_vae_name_or_path"
)


class OutOfMemory(UserError):
    """The GPU's memory does not hold a step."""

    status = 1


def run(
    args: Namespace,
    overrides: list[str],
    settings: dict[str, Any],
    threestudio: ModuleType,
    checkpoint: dict[str, Any] | None = None,
) -> int:
    """Trains, validates, tests or exports, as the arguments say, with settings that have been checked.

    Args:
        args: The launcher's options.
        overrides: The `key=value` on its command line.
        settings: The whole config.
        threestudio: The host.
        checkpoint: The checkpoint that `resume` names, as `check_resumed` has read it.

    Returns:
        The exit status: 0, 130 after Ctrl-C, or 143 after SIGTERM.

    Raises:
        NonFiniteError: The run meets NaN or infinity.
        UserError: Another run trains in the folder, or the disk is full, or ends the run otherwise.
    """
    from threestudio.utils.config import ExperimentConfig, parse_structured
    from threestudio.utils.misc import get_rank

    if args.verbose:
        logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG)
    else:
        quiet()
    cfg = parse_structured(ExperimentConfig, as_config(settings))
    pl.seed_everything(cfg.seed + get_rank(), workers=True, verbose=False)
    last = LastCheckpoint(
        os.path.join(cfg.trial_dir, "ckpts"), cfg.checkpoint.get("save_last", False), settings
    )
    try:
        with _in_folder(cfg.trial_dir, args.train) as trainers, _memory_named(last):
            args, step = _what_is_left(args, cfg, checkpoint)
            if is_first():
                say_model_and_prompt(settings["system"], _device())
            datamodule = threestudio.find(cfg.data_type)(cfg.data)
            system = _system(args, cfg, threestudio, checkpoint)
            if is_first() and (args.train or args.test):
                forecast_test(datamodule, system)
            trainers.append(_trainer(args, cfg, settings, system, last, step))
            gc.enable()  # all is imported; see `launch.main`
            with _checkpoints_named(last):
                _act(args, trainers[0], system, datamodule, cfg)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if last.stopped and trainers[0].is_global_zero:
            again = _resume_command(args, overrides, last.path)
            say(f"Stopped at step {trainers[0].global_step}; go on with: {again}")
        return 128 + (last.stopped or signal.SIGINT)
    if trainers[0].is_global_zero and not args.validate:
        say_results(settings, threestudio, cfg.trial_dir)
    return 0


def _system(args: Namespace, cfg: Any, threestudio: ModuleType, checkpoint: dict[str, Any] | None) -> Any:
    system = threestudio.find(cfg.system_type)(cfg.system, resumed=cfg.resume is not None)
    system.set_save_dir(os.path.join(cfg.trial_dir, "save"))
    if args.train:
        system.setup("fit")  # before the weights are compared with the checkpoint's
    if checkpoint is not None:
        require_whole_state(system, cfg.resume, checkpoint)
        if not args.train:  # Lightning restores weights there, but neither epoch nor step
            system.set_resume_status(checkpoint["epoch"], checkpoint["global_step"])
    return system


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


def _trainer(
    args: Namespace, cfg: Any, settings: dict[str, Any], system: Any, last: LastCheckpoint, step: int | None
) -> pl.Trainer:
    own = OmegaConf.to_container(cfg.trainer)
    # TF32 on a GPU: float32 matrices are the renders', and the networks' where dtype says so
    matmul = own.pop(MATMUL, "high" if torch.cuda.is_available() else "highest")
    torch.set_float32_matmul_precision(matmul)
    callbacks = [RunProgressBar()] if own.get("enable_progress_bar", True) else []
    loggers: Any = False
    if args.train:
        callbacks += [*_training_callbacks(args, cfg, settings), *_viewer(args, last), last]
        loggers = [*curves(cfg.trial_dir, step), *system.get_loggers()]
    defaults = {
        "accelerator": "gpu" if torch.cuda.is_available() else "cpu",
        "devices": -1 if torch.cuda.is_available() else 1,
        "inference_mode": False,  # a system may take gradients while it is evaluated
        "enable_model_summary": False,
        "plugins": [AtomicCheckpointIO()],
    }
    return pl.Trainer(**{**defaults, **own, "callbacks": callbacks, "logger": loggers})


def _what_is_left(
    args: Namespace, cfg: Any, checkpoint: dict[str, Any] | None
) -> tuple[Namespace, int | None]:
    """Returns what is still to do, the test alone if the run is finished, and the step it begins with."""
    if not args.train or checkpoint is None:
        return args, None
    step, steps = checkpoint["global_step"], cfg.trainer.get("max_steps", -1)
    say_once = say if is_first() else lambda _: None
    if is_first():  # before the others start, which may be writing later
        sweep(cfg.trial_dir)
    if not 0 <= steps <= step:
        say_once(f"Going on in {cfg.trial_dir} from step {step:,}.")
        return args, step
    say_once(f"Nothing is left to train: {cfg.resume} is at step {step}, and trainer.max_steps is {steps}.")
    return Namespace(**{**vars(args), "train": False, "test": True}), None


@contextlib.contextmanager
def _checkpoints_named(last: LastCheckpoint) -> Iterator[None]:
    """Adds the state of the run's checkpoints to an error that ends it half way.

    Raises:
        NonFiniteError: The run has met NaN or infinity.
        UserError: The disk is full, or cannot be written.
    """
    try:
        yield
    except FloatingPointError as error:
        raise NonFiniteError(f"{first_line(error)}; {last.standing()}") from error
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):  # a library's, or closed output
            raise
        place = error.filename or os.path.dirname(os.path.dirname(last.path))
        raise UserError(f"{place}: {error.strerror or first_line(error)}; {last.standing()}") from error


@contextlib.contextmanager
def _memory_named(last: LastCheckpoint) -> Iterator[None]:
    """Names what saves memory, and the run's checkpoints, where the GPU's is full.

    Raises:
        OutOfMemory: It is.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        said = first_line(error).partition(" GPU ")[0].rstrip(". ")
        raise OutOfMemory(f"{said}: {LESS_MEMORY}; {last.standing()}") from error


@contextlib.contextmanager
def _in_folder(folder: str, trains: bool) -> Iterator[list[pl.Trainer]]:
    """Holds a run's folder: alone while it trains; removed again if an error ends a new run at step 0.

    Yields:
        A list for the run's trainer.

    Raises:
        UserError: Another run trains in the folder.
    """
    from threestudio.utils.misc import get_rank

    trainers: list[pl.Trainer] = []
    above = list(itertools.takewhile(lambda path: not path.exists(), Path(folder).absolute().parents))
    first = get_rank() == 0
    with alone_in(Path(folder), "tag") if trains and first else contextlib.nullcontext():
        new = not os.path.isdir(folder) or {*os.listdir(folder)} <= {LOCK}
        try:
            yield trainers
        except BaseException:
            if new and first and not any(trainer.global_step for trainer in trainers):
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
        trainer.test(system, datamodule=datamodule, verbose=False)
    elif args.export:
        trainer.predict(system, datamodule=datamodule, ckpt_path=cfg.resume, return_predictions=False)
    else:
        act = trainer.validate if args.validate else trainer.test
        act(system, datamodule=datamodule, ckpt_path=cfg.resume, verbose=False)


def _training_callbacks(args: Namespace, cfg: Any, settings: dict[str, Any]) -> list[Callback]:
    from threestudio.utils.callbacks import ConfigSnapshotCallback
    from threestudio.utils.misc import get_rank

    folder = Path(cfg.trial_dir)
    # no version counter: last.ckpt is the last one, also after a resume
    saved = {"enable_version_counter": False, **cfg.checkpoint, "dirpath": str(folder / "ckpts")}
    monitor = cfg.checkpoint.get("monitor")
    return [
        ModelCheckpoint(**saved),
        LearningRateMonitor(logging_interval="step"),
        CodeSnapshot(args.config, folder / "code", cfg.exp_root_dir),
        ConfigSnapshotCallback(args.config, _as_written(cfg), str(folder / "configs")),
        StepSeed(cfg.seed, get_rank()),
        FiniteParameters(),
        *([MonitoredMetric(monitor)] if monitor else []),
        ConfiguredRates(settings["system"].get("optimizer", {})),
    ]


def _viewer(args: Namespace, last: LastCheckpoint) -> list[Callback]:
    if getattr(args, "viewer", None) is None:
        return []
    from launcher.viewer import Viewer, ViserPage

    return [Viewer(partial(ViserPage, args.viewer), lambda: last.asked)]


def _as_written(cfg: DictConfig) -> DictConfig:
    """Returns a run's config as a YAML file has it: `as_config` escapes texts once more than that."""
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
