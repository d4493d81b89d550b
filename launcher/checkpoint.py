"""Checkpoints that are always whole, hold plain data only, and let a resumed run end where an unbroken one does."""

import os
import random
import signal
import threading
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.rank_zero import rank_zero_info


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file beside the target, flushes it to disk, then replaces the target in one step.

    Lightning's own writer goes through the system's temporary folder; from another file system that is a
    plain copy, which a killed process leaves half done. Loading never executes anything (`weights_only`).
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save `checkpoint` at `path`, whole or not at all."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.tmp"
        with open(temporary, "wb") as file:
            torch.save(plain(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load tensors and primitives from `path`."""
        return super().load_checkpoint(path, map_location=map_location, weights_only=True)


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
        """Seed."""
        key = (self.seed % 2**32, self.rank, trainer.current_epoch, batch_idx)
        state = int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)


class LastCheckpoint(Callback):
    """Keeps `last.ckpt` after every validation and on Ctrl-C.

    threestudio's configs count on `save_last` to save at each validation; Lightning has given that up since.
    The first Ctrl-C lets the current step end, saves and stops; a second one stops at once, without saving.

    Attributes:
        path: Of the checkpoint.
        stopped: Whether Ctrl-C ended the run with a checkpoint.
    """

    def __init__(self, folder: str, after_validation: bool) -> None:
        self.path = os.path.join(folder, "last.ckpt")
        self.stopped = False
        self._after_validation = after_validation
        self._asked = False
        self._previous: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Take over the signal, where Python allows it."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, signum: int, frame: Any) -> None:
        self._asked = True
        self._give_back()
        rank_zero_info("\nStopping after this step; press Ctrl-C again to stop at once.")

    def _give_back(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Save."""
        if self._after_validation and trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path, weights_only=False)  # the whole state

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Save and stop, if asked to; processes agree on the step."""
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            trainer.save_checkpoint(self.path, weights_only=False)  # the whole state
            self.stopped = True
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Give the signal back."""
        self._give_back()
