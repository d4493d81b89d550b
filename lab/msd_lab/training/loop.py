"""One training loop for every network of the tiny world: resumable, with a progress bar, the same on every
run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threestudio_msd.files import save_state
from torch import Tensor, nn

from ..averages import power_average

Loss = Callable[[torch.Generator], Tensor]

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")
"""Of a CPU, as `torch.cpu.get_capabilities` names them; the last are ARM's."""


def quick_precision() -> torch.autocast:
    """A context for the networks' calls: bfloat16 where the CPU has units for it, else single precision.

    Without such units bfloat16 is emulated, and a step takes ten times as long.
    """
    units = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return torch.autocast("cpu", torch.bfloat16, enabled=any(units.get(unit) for unit in BFLOAT16_UNITS))


@dataclass(frozen=True)
class TrainConfig:
    """AdamW with warm-up and cosine decay to zero.

    `gamma` is the exponent of the power-function average
    ([`power_average`][msd_lab.averages.power_average]); ``None`` keeps no average.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.01
    gamma: float | None = None
    clip: float = 1.0
    save_every: int = 250
    seed: int = 0


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate at a step (counted from 0)."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def fit(
    name: str,
    module: nn.Module,
    loss: Loss,
    config: TrainConfig,
    checkpoint: Path,
    progress: bool = True,
    on_save: Callable[[int], None] | None = None,
) -> nn.Module:
    """Trains `module` in place and leaves it with its averaged weights, in evaluation mode.

    Every step draws from a generator seeded by the step, so a run resumed from `checkpoint` goes on as if
    never stopped.

    Args:
        name: For the progress bar and the messages.
        module: Everything to train.
        loss: Maps a step's generator to the loss.
        config: Rates and counts.
        checkpoint: Where the state is kept, ``config.save_every`` steps apart; read if it exists.
        progress: Whether to show a bar.
        on_save: Called with the step after each save, the averaged weights in place.

    Raises:
        FloatingPointError: If the loss is not finite; the last checkpoint is left as it was.
    """
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    average = [p.detach().clone() for p in module.parameters()]
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        average, first = state["average"], state["step"]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    module.train()
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task(name, total=config.steps, completed=first, note="")
        started, smooth = time.monotonic(), None
        for step in range(first, config.steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, step)
            value = loss(torch.Generator().manual_seed(config.seed * 1_000_003 + step))
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"{name}: the loss is {value.item()} at step {step}; {checkpoint} is untouched"
                )
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), config.clip)
            optimiser.step()
            power_average(average, module.parameters(), step + 1, config.gamma)
            smooth = value.item() if smooth is None else 0.98 * smooth + 0.02 * value.item()
            rate = (step + 1 - first) / (time.monotonic() - started)
            bar.update(task, completed=step + 1, note=f"loss {smooth:.4f}  {rate:.2f} steps/s")
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                state = {
                    "module": module.state_dict(), "optimiser": optimiser.state_dict(), "average": average,
                    "step": step + 1,
                }  # fmt: skip
                save_state(state, checkpoint)
                if not progress:
                    print(
                        f"{name} step {step + 1}/{config.steps} loss {smooth:.4f} {rate:.2f} steps/s",
                        flush=True,
                    )
                if on_save is not None:
                    with _lent(module, average):
                        on_save(step + 1)
    _load(module, average)
    return module.eval()


def fit_rounds(
    name: str,
    module: nn.Module,
    rounds: Iterable[tuple[TrainConfig, Loss]],
    states: Path,
    progress: bool = True,
    on_save: Callable[[int], None] | None = None,
) -> nn.Module:
    """One [`fit`][] after the other, each from the averaged weights of the last: warm restarts.

    Args:
        name: For the progress bar and the messages.
        module: Everything to train.
        rounds: Rates, counts and loss of each.
        states: The folder where the state of each round is kept, to resume from.
        progress: Whether to show a bar.
        on_save: Called with the step after each save, the averaged weights in place.
    """
    for k, (config, loss) in enumerate(rounds):
        fit(name, module, loss, config, states / f"round-{k}.pt", progress, on_save)
    return module


def _load(module: nn.Module, tensors: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, tensor in zip(module.parameters(), tensors, strict=True):
            parameter.copy_(tensor)


@contextmanager
def _lent(module: nn.Module, average: list[Tensor]) -> Iterator[None]:
    """Lends the averaged weights to the module, in evaluation mode."""
    kept = [p.detach().clone() for p in module.parameters()]
    _load(module, average)
    module.eval()
    try:
        yield
    finally:
        _load(module, kept)
        module.train()
