"""One training loop for every network of the tiny world: resumable, and the same on every run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from threestudio_msd.files import save_state
from torch import Tensor, nn
from tqdm import tqdm

from ..averages import power_average

Loss = Callable[[torch.Generator], Tensor]

# names of a CPU's bfloat16 units in `torch.cpu.get_capabilities`; the last are ARM's
BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")


def quick_precision() -> torch.autocast:
    """Make a context for the networks' calls: bfloat16 where the CPU has units for it, else single precision.

    Without such units bfloat16 is emulated, and a step takes ten times as long.
    """
    units = getattr(torch.cpu, "get_capabilities", dict)()  # older torch lacks it
    return torch.autocast("cpu", torch.bfloat16, enabled=any(units.get(unit) for unit in BFLOAT16_UNITS))


def progress(items: Sequence[object], name: str, done: int = 0) -> tqdm:
    """Iterate over the items from number `done` on, beside a bar; a log file gets one line a minute."""
    every = 0.1 if sys.stderr.isatty() else 60.0
    return tqdm(items[done:], name, len(items), initial=done, mininterval=every)


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
    """Compute the rate at a step, counted from 0."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def fit(
    name: str,
    module: nn.Module,
    loss: Loss,
    config: TrainConfig,
    checkpoint: Path,
    on_save: Callable[[], object] | None = None,
) -> None:
    """Train a module in place; it ends with its averaged weights, in evaluation mode.

    Every step draws from a generator seeded by the step, so a run resumed from
    `checkpoint` gives the same weights as an uninterrupted one.

    Args:
        name: Heads the progress bar and the messages.
        module: Everything to train.
        loss: Maps a step's generator to the loss.
        config: Rates and counts.
        checkpoint: File of the state, written every ``config.save_every`` steps; read
            if it exists.
        on_save: Called after each save, while the module holds its averaged weights, in
            evaluation mode.

    Raises:
        FloatingPointError: The loss is not finite; the last checkpoint is left as it
            was.
    """
    weights = list(module.parameters())
    optimiser = torch.optim.AdamW(
        weights, config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    average, first = [p.detach().clone() for p in weights], 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        average, first = state["average"], state["step"]
    bar = progress(range(config.steps), name, first)
    for step in bar:
        module.train()
        optimiser.param_groups[0]["lr"] = learning_rate(config, step)
        value = loss(torch.Generator().manual_seed(config.seed * 1_000_003 + step))
        bar.set_postfix_str(f"loss {value.item():.4f}", refresh=False)
        if not torch.isfinite(value):
            raise FloatingPointError(
                f"{name}: the loss is {value.item()} at step {step}; {checkpoint} is untouched"
            )
        _update(optimiser, value, weights, config.clip)
        power_average(average, weights, step + 1, config.gamma)
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            networks = {"module": module.state_dict(), "optimiser": optimiser.state_dict()}
            save_state({**networks, "average": average, "step": step + 1}, checkpoint)
            if on_save is not None:
                _swap(weights, average)
                module.eval()
                on_save()
                _swap(weights, average)
    _swap(weights, average)
    module.eval()


def _update(optimiser: torch.optim.Optimizer, loss: Tensor, weights: list[Tensor], clip: float) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(weights, clip)
    optimiser.step()


@torch.no_grad()
def _swap(one: list[Tensor], other: list[Tensor]) -> None:
    before = [values.clone() for values in one]
    torch._foreach_copy_(one, other)
    torch._foreach_copy_(other, before)


def fit_rounds(
    name: str,
    module: nn.Module,
    rounds: Iterable[tuple[TrainConfig, Loss]],
    states: Path,
    on_save: Callable[[], object] | None = None,
) -> None:
    """Call [`fit`][] for each round, from the averaged weights of the last: warm restarts.

    Args:
        name: Heads the progress bar and the messages.
        module: Everything to train.
        rounds: Rates, counts and loss of each round.
        states: Folder of the rounds' states, to resume from.
        on_save: See [`fit`][].
    """
    for k, (config, loss) in enumerate(rounds):
        fit(name, module, loss, config, states / f"round-{k}.pt", on_save)
