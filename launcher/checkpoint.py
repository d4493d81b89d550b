"""Checkpoints that are always whole, finite and plain data: a resumed run ends where an unbroken one does."""

import io
import os
import random
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from threestudio_msd.errors import NonFiniteError, UserError, did_you_mean
from threestudio_msd.fields import listed
from threestudio_msd.files import write_whole

from launcher.saved import SETTINGS, checksum_file, damage, require_finite_state, write_checksum

HUGE = 1e18
"""Parameters that float32 cannot square: whatever is computed from them is infinite in the next step."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to disk, replaces the target in one step, and adds a checksum.

    Lightning's own writer goes through the system's temporary folder; from another file system that is a
    plain copy, which a killed process leaves half done. Loading never executes anything (`weights_only`).
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save `checkpoint` at `path`, whole or not at all.

        Raises:
            NonFiniteError: It holds NaN or infinity.
            OSError: The disk is full or cannot be written.
        """
        require_finite_state(checkpoint, f"at step {checkpoint.get('global_step', 0)}")
        buffer = io.BytesIO()  # so that a full disk is an error of the file, and not one of torch's
        torch.save(plain(checkpoint), buffer)

        def write(aside: Path) -> None:
            _flush(aside, buffer.getbuffer())
            # a checksum always belongs to its file: a process killed from here on leaves a file without one
            checksum_file(path).unlink(missing_ok=True)

        write_whole(Path(path), write)
        write_checksum(path, buffer.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load tensors and primitives from `path`."""
        return super().load_checkpoint(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        checksum_file(path).unlink(missing_ok=True)
        super().remove_checkpoint(path)


def _flush(path: Path, data: memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def plain(value: Any) -> Any:
    """`value` with config nodes (optimisers keep some of theirs) as plain lists and dicts."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value)
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if isinstance(value, dict):
        return type(value)((key, plain(item)) for key, item in value.items())
    return value


class StepSeed(Callback):
    """Seeds every random generator at each training batch from (seed, process, batch).

    The random numbers of a step then depend on nothing that came before it, neither on validation nor on
    whether the run was resumed: a resumed run draws exactly what an unbroken one does.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.rank = seed, rank

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        key = (self.seed % 2**32, self.rank, trainer.current_epoch, batch_idx)
        state = int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)


class FiniteParameters(Callback):
    """Stops a run at the step that makes a parameter NaN or infinite, before it is saved or shown."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Look at what the step has changed.

        Raises:
            NonFiniteError: Naming step and parameter.
        """
        peaks = {
            name: parameter.detach().abs().max().float()
            for name, parameter in pl_module.named_parameters()
            if parameter.requires_grad
        }
        if peaks and not (torch.stack([*peaks.values()]) < HUGE).all():  # a GPU waits once, not for each
            name = next(name for name, peak in peaks.items() if not peak < HUGE)
            raise NonFiniteError(
                f"{name} is NaN, infinite or above {HUGE:.0e} after step {trainer.global_step}"
            )


class MonitoredMetric(Callback):
    """Ends a run whose `checkpoint.monitor` is no metric that is logged.

    Lightning would warn at the first checkpoint, and rank them by nothing.

    Args:
        name: Of the metric.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Any) -> None:
        if not self._name.startswith("val"):
            self.on_validation_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._name not in trainer.callback_metrics and not trainer.sanity_checking:
            near = did_you_mean(self._name, trainer.callback_metrics)
            logged = f"; logged: {listed(sorted(trainer.callback_metrics))}"
            raise UserError(f"checkpoint.monitor: {self._name!r} is not logged{near or logged}")


class ConfiguredRates(Callback):
    """Sets an optimiser's settings to the config's after a checkpoint has restored those it was saved with.

    Args:
        optimizer: The settings, `system.optimizer`.
    """

    def __init__(self, optimizer: Mapping[str, Any]) -> None:
        self._args, self._groups = optimizer.get("args", {}), optimizer.get("params") or {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.lr_scheduler_configs:
            return
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.update({**self._args, **self._groups.get(group.get("name"), {})})


class LastCheckpoint(Callback):
    """Keeps `last.ckpt` after every validation, and on Ctrl-C and SIGTERM; says how things stand with it.

    threestudio's configs count on `save_last` to save at each validation; Lightning has given that up since.
    The first signal lets the current step end, saves and stops; a second one stops at once, without saving.

    Args:
        folder: Of the run's checkpoints.
        after_validation: Whether to save then.
        settings: Of the run, which go into every checkpoint.

    Attributes:
        path: Of the checkpoint.
        stopped: The signal that ended the run with a checkpoint; None where none did.
    """

    def __init__(self, folder: str, after_validation: bool, settings: Mapping[str, Any]) -> None:
        self.path = os.path.join(folder, "last.ckpt")
        self.stopped: int | None = None
        self._after_validation = after_validation
        self._settings = dict(settings)
        self._asked: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether a signal has asked the run to stop."""
        return self._asked is not None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._ask)

    def _ask(self, signum: int, frame: Any) -> None:
        self._asked = signum
        self._give_back()
        rank_zero_info("\nStopping after this step; a second signal (Ctrl-C) stops at once.")

    def _give_back(self, *args: Any) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    on_train_end = on_exception = _give_back

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[SETTINGS] = self._settings
        for logger in trainer.loggers:
            logger.save()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._after_validation and trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path, weights_only=False)  # the whole state

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False):
            trainer.save_checkpoint(self.path, weights_only=False)  # the whole state
            self.stopped = self._asked or signal.SIGINT
            raise KeyboardInterrupt

    def standing(self) -> str:
        """What a run that fails can say of its checkpoints."""
        saved = sorted(Path(self.path).parent.glob("*.ckpt"), key=os.path.getmtime)
        if not saved:
            return "no checkpoint was saved"
        found = damage(str(saved[-1]))
        return f"{saved[-1]} {found}" if found else f"the last checkpoint, {saved[-1]}, is intact"
