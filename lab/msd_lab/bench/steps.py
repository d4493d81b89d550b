"""An experiment's optimiser step as the trainer takes it: seconds, FLOP, memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import threestudio
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from launcher.config import read

from ..measure.flop import counting
from .benchmark import Record, clock, vae_of

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@dataclass(frozen=True)
class StepCosts:
    """What an optimiser step takes, all images or views together.

    Attributes:
        seconds: See `clock`.
        flop: Floating point operations.
        bytes: Most memory in use, weights included; of a GPU its allocator's, of a CPU
            the tensors'.
        weights: Bytes of these that are parameters.
    """

    seconds: float
    flop: float
    bytes: int
    weights: int


def measure_steps(config: DictConfig, steps: int) -> StepCosts:
    """Train for three windows of so many steps: one warms up, one is timed, one is
    counted.

    Args:
        config: An experiment's configuration, resolved; its `refresh_every` should
            divide the steps.
        steps: Of a window.
    """
    windows, on_gpu = Windows(steps), torch.cuda.is_available()
    system = threestudio.find(config.system_type)(config.system)
    with tempfile.TemporaryDirectory() as folder:
        system.set_save_dir(folder)
        trainer = pl.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=1,
            max_steps=3 * steps,
            precision=config.trainer.get("precision", 32),
            callbacks=[windows],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            inference_mode=False,
        )
        trainer.fit(system, datamodule=threestudio.find(config.data_type)(config.data))
    weights = parameter_bytes(system)
    before = weights + optimiser_bytes(trainer)
    peak = torch.cuda.max_memory_allocated() if on_gpu else before + windows.live.peak
    return StepCosts(windows.seconds / steps, windows.counter.get_total_flops() / steps, peak, weights)


def scaling(steps: int, particles: Sequence[int], cameras: Sequence[int]) -> Iterator[Record]:
    """Measure a step of the tiny configs against the number of particles in 2D and of
    cameras in 3D.
    """
    once = ["system.progress_every=1000"]
    for name, key, values, extra in (
        ("msd-tiny", "data.n_particles", particles, once),
        ("sds-tiny", "data.n_particles", particles[-1:], once),
        ("msd-nerf-tiny", "data.batch_size", cameras, []),
    ):
        for value in values:
            config = read(str(CONFIGS / f"{name}.yaml"), [f"{key}={value}", *extra])
            costs = asdict(measure_steps(config, steps))
            mib = {f"{part}_mib": costs[part] / 2**20 for part in ("bytes", "weights")}
            figures = {"ms": 1e3 * costs["seconds"], "gflop": costs["flop"] / 1e9, **mib}
            yield {"config": f"{name}, {key}={value}", **figures}


def parameter_bytes(system: Any) -> int:
    """Count the bytes of a system's parameters, and of the pretrained model's inside
    its guidance.
    """
    model = getattr(system.guidance, "model", None)
    modules = [system, getattr(model, "backbone", None), vae_of(model)]
    sizes = {id(p): p.nbytes for module in modules if module is not None for p in module.parameters()}
    return sum(sizes.values())


def optimiser_bytes(trainer: pl.Trainer) -> int:
    """Count the bytes of what optimisers keep from step to step."""
    states = [state for optimiser in trainer.optimizers for state in optimiser.state.values()]
    return sum(x.nbytes for state in states for x in state.values() if isinstance(x, Tensor))


class Windows(pl.Callback):
    """Times a window of steps, and counts the operations and the memory of the next."""

    def __init__(self, steps: int) -> None:
        self.steps, self.modes = steps, ExitStack()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.steps:
            self.started = clock()
        if trainer.global_step == 2 * self.steps:
            self.seconds = clock() - self.started
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.live = self.modes.enter_context(LiveBytes())
            self.counter = self.modes.enter_context(counting())

    def on_train_end(self, *_: Any) -> None:
        self.modes.close()


class LiveBytes(TorchDispatchMode):
    """Bytes of the tensors that are made meanwhile, those that are alive at once.

    Attributes:
        live: How many there are.
        peak: The most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.live = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in storages((args, kwargs))}
        made = function(*args, **(kwargs or {}))
        for storage in storages(made):
            if storage._cdata not in given and storage._cdata not in self.sizes:
                self.sizes[storage._cdata] = storage.nbytes()
                self.live += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata)
        self.peak = max(self.peak, self.live)
        return made

    def _freed(self, storage: int) -> None:
        self.live -= self.sizes.pop(storage)


def storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
