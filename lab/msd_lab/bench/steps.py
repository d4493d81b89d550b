"""An experiment's optimiser step as the trainer takes it: seconds, FLOP, memory."""

from __future__ import annotations

import tempfile
import time
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ..measure.flop import counting


@dataclass(frozen=True)
class StepCosts:
    """What an optimiser step takes, all images or views together.

    Attributes:
        seconds: Wall time.
        flop: Floating point operations.
        bytes: Most memory in use, weights included; of a GPU its allocator's, of a CPU the tensors'.
        weights: Bytes of these that are parameters.
    """

    seconds: float
    flop: float
    bytes: int
    weights: int


def measure_steps(config: DictConfig, steps: int) -> StepCosts:
    """Train for three windows of so many steps: one warms up, one is timed, one is counted.

    Args:
        config: An experiment's configuration, resolved; its `refresh_every` should divide the steps.
        steps: Of a window.
    """
    import threestudio

    clock = Clock(steps)
    system = threestudio.find(config.system_type)(config.system)
    on_gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        system.set_save_dir(folder)
        trainer = pl.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=1,
            max_steps=3 * steps,
            precision=config.trainer.get("precision", 32),
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            inference_mode=False,
        )
        trainer.fit(system, datamodule=threestudio.find(config.data_type)(config.data))
    return clock.costs(parameter_bytes(system))


def parameter_bytes(system: Any) -> int:
    """Bytes of a system's parameters, and of the pretrained model's inside its guidance."""
    model = getattr(system.guidance, "model", None)
    modules = [system, *(m for m in (getattr(model, "backbone", None), vae_of(model)) if m is not None)]
    parameters = {id(p): p for module in modules for p in module.parameters()}
    return sum(p.numel() * p.element_size() for p in parameters.values())


def vae_of(model: Any) -> Any:
    """A pretrained model's autoencoder, if it has one."""
    return getattr(getattr(model, "space", None), "vae", None)


class Clock(Callback):
    """Times a window of steps, and counts the operations and the memory of the next."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.started = self.seconds = self.flop = 0.0
        self.peak = 0
        self.modes = ExitStack()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begin a window where it begins."""
        if trainer.global_step == self.steps:
            self.started = now()
        if trainer.global_step == 2 * self.steps:
            self.seconds = now() - self.started
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.live = self.modes.enter_context(LiveBytes())
            self.counter = self.modes.enter_context(counting())

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """End the last window."""
        if trainer.global_step == 3 * self.steps:
            self.modes.close()
            self.flop = float(self.counter.get_total_flops())

    def costs(self, weights: int) -> StepCosts:
        """Of a step."""
        on_gpu = torch.cuda.is_available()
        most = torch.cuda.max_memory_allocated() if on_gpu else weights + self.live.peak
        return StepCosts(self.seconds / self.steps, self.flop / self.steps, most, weights)


def now() -> float:
    """Seconds, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class LiveBytes(TorchDispatchMode):
    """Bytes of the tensors that are made meanwhile, those that are alive at once.

    Attributes:
        peak: The most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, int] = {}
        self.live = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {storage._cdata for storage in storages((args, kwargs))}
        made = function(*args, **kwargs)
        for storage in storages(made):
            if storage._cdata not in given and storage._cdata not in self.known:
                self._enter(storage)
        return made

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self.known[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, key)

    def _leave(self, key: int) -> None:
        self.live -= self.known.pop(key, 0)


def storages(tree: Any) -> list[torch.UntypedStorage]:
    """Those of the tensors in a tree of containers."""
    return [leaf.untyped_storage() for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]
