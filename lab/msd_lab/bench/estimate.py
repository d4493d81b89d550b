"""What a run would take on a GPU: FLOP, memory, minutes. Nothing is trained, and no weights are needed.

python scripts/estimate.py configs/msd-sd.yaml
python scripts/estimate.py configs/msd-nerf-sd.yaml --gpu a100 4090 trainer.max_steps=5000

FLOP and memory are counted: the config's steps run on tensors without values, the renders of a scene on the
CPU by a part of the rays. Minutes follow: an operation takes as long as its FLOP, or its bytes, at a share of
what the GPU's maker states, and at least as long as a launch. lab/msd_lab/configs/gpus.yaml has the shares,
each marked assumed or measured. A run that does not fit is estimated too, with a warning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from threestudio_msd.errors import UserError, did_you_mean

from launcher.checks.config import read_checked
from launcher.script import Parser, with_host

from ..report.table import Table

GIB, DATA = 2**30, Path(__file__).parents[1] / "configs" / "gpus.yaml"
HEADING = ("GPU", "minutes", "GiB in use", "GiB there are", "fits")
IMAGES = ("system.progress_every=1000",)
BESIDE = (
    ("msd-tiny", 8, (*IMAGES, "system.guidance.last_fit=0")),
    ("sds-tiny", 4, IMAGES),
    ("vsd-tiny", 4, IMAGES),
    ("msd-nerf-tiny", 25, ()),
    ("sds-nerf-tiny", 4, ()),
    ("vsd-nerf-tiny", 4, ()),
)
"""Configs that are run and estimated, steps of a window (see `measure_steps`), and settings."""
HALVES = ("torch.float16", "torch.bfloat16")


@cache
def data() -> Mapping[str, Any]:
    """The data file's three blocks."""
    return yaml.safe_load(DATA.read_text(encoding="utf-8"))


def assumed(block: str, name: str) -> float:
    return data()[block][name]["value"]


@dataclass(frozen=True)
class Gpu:
    """A GPU's stated rates: TFLOP a second, TB a second, GiB; see the data file."""

    name: str
    memory: float
    half: float
    tf32: float | None
    float32: float
    bandwidth: float

    def seconds(self, operations: Mapping[Any, float], exact: bool = False) -> float:
        """Add up how long operations take.

        Args:
            operations: How often each.
            exact: Whether float32 is computed without TF32.
        """
        return sum(count * self._seconds(one, exact) for one, count in operations.items())

    def _seconds(self, operation: Any, exact: bool) -> float:
        single = "float32" if exact or self.tf32 is None else "tf32"
        kind = "half" if str(operation.dtype) in HALVES else single
        computing = operation.flop / (1e12 * getattr(self, kind) * assumed("shares", kind))
        moving = operation.bytes / (1e12 * self.bandwidth * assumed("shares", "bandwidth"))
        return max(computing, moving, 1e-6 * assumed("others", "microseconds_an_operation"))


def gpu(name: str) -> Gpu:
    """Look a GPU up.

    Raises:
        UserError: The data file has none of this name.
    """
    known = data()["gpus"]
    if name not in known:
        raise UserError(f"--gpu: expected one of {', '.join(known)}, got {name!r}{did_you_mean(name, known)}")
    return Gpu(**known[name])


def stated(name: str) -> Gpu | None:
    """Look a GPU up by the name that torch gives it; None where it is not known."""
    return next((Gpu(**known) for known in data()["gpus"].values() if known["name"] in name), None)


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        work: Its operations and memory.
        weights: Bytes of the pretrained model.
        source: Where the model's sizes are from.
        steps: Optimiser steps.
        exact: Whether float32 is computed without TF32.
        notes: What the figures leave open.
    """

    work: Any
    weights: int
    source: str
    steps: int
    exact: bool
    notes: tuple[str, ...]

    def row(self, name: str) -> tuple[str, ...]:
        """A GPU's row of the table."""
        chosen, minutes = gpu(name), gpu(name).seconds(self.work.operations, self.exact) / 60
        used = self.work.peak / GIB * (1 + assumed("others", "fragmentation")) + assumed(
            "others", "context_gib"
        )
        fits = "yes" if used <= chosen.memory else "NO"
        return (name, f"{minutes:.3g}", f"{used:.1f}", f"{chosen.memory:g}", fits)


def estimate(settings: Mapping[str, Any], half: bool = True) -> Estimate:
    """Run a config's steps without values.

    Args:
        settings: An experiment's configuration, resolved.
        half: What `dtype: auto` means: half precision, as on a GPU, or float32.

    Raises:
        UserError: Its guidance is not this package's, or its model's size is not known.
    """
    from .dry_run import DryRun
    from .meta_models import meta_model

    model, trainer = meta_model(settings["system"]["guidance"], half), settings["trainer"]
    dry = DryRun(settings, model)
    exact = trainer.get("float32_matmul_precision", "high") == "highest"
    return Estimate(dry.run(), model.bytes, model.source, dry.steps, exact, tuple(notes(settings)))


def beside_runs() -> Iterator[dict[str, object]]:
    """Run configs for a few steps on this machine, and estimate the same steps."""
    from .steps import CONFIGS, measure_steps

    for name, steps, words in BESIDE:
        config = read_checked(str(CONFIGS / f"{name}.yaml"), [*words, f"trainer.max_steps={3 * steps}"])
        run = measure_steps(config, steps)
        found = estimate(OmegaConf.to_container(config, resolve=True), half=False)
        yield {
            "config": name,
            "gflop": run.flop / 1e9,
            "estimated_gflop": found.work.flop / found.steps / 1e9,
            "mib": run.bytes / 2**20,
            "estimated_mib": found.work.peak / 2**20,
        }


def whole_runs() -> Iterator[dict[str, object]]:
    """Count whole runs at full size: `msd-sd`, which ends sooner where all particles converge, `sds-sd`,
    and `sds-sd` with the steps and the loss of `sds-tiny`.
    """
    from .steps import CONFIGS

    tiny = OmegaConf.load(CONFIGS / "sds-tiny.yaml")
    words = [
        f"trainer.max_steps={tiny.trainer.max_steps}",
        f"system.guidance.loss_space={tiny.system.guidance.loss_space}",
    ]
    msd = None
    for name, given in (("msd-sd", []), ("sds-sd", []), ("sds-sd", words)):
        config = read_checked(str(CONFIGS / f"{name}.yaml"), given)
        found = estimate(OmegaConf.to_container(config, resolve=True))
        msd = msd or found.work.flop
        yield {
            "run": " ".join([name, *given]),
            "steps": found.steps,
            "tflop": found.work.flop / 1e12,
            "part": msd / found.work.flop,
        }


def notes(settings: Mapping[str, Any]) -> Iterator[str]:
    """What an estimate leaves open."""
    guidance = settings["system"]["guidance"]
    if guidance.get("stop_threshold"):
        yield "A run whose particles all converge ends sooner: stop_threshold is taken as 0."
    if "renderer_type" in settings["system"]:
        yield "The scene is as it begins, its grid without tinycudann; renders of tests are left out."
    for name in ("enable_sequential_cpu_offload", "enable_compile"):
        if guidance.get(name):
            yield f"system.guidance.{name} is left out."


def lines(found: Estimate, gpus: list[str]) -> Iterator[str]:
    """The report."""
    yield (
        f"{found.steps} steps at most: {found.work.flop / 1e12:,.3g} TFLOP; tensors "
        f"{found.work.peak / GIB:.2f} GiB at once, network and autoencoder {found.weights / GIB:.2f} of them "
        f"({found.source})"
    )
    rows = [found.row(name) for name in gpus]
    yield f"\n{Table(HEADING, rows).markdown()}\n"
    given = {name: entry for block in ("shares", "others") for name, entry in data()[block].items()}
    yield "Computed, not run on a GPU, from " + ", ".join(
        f"{name} {entry['value']:g} ({entry['basis']})" for name, entry in given.items()
    )
    yield from found.notes
    if short := [row[0] for row in rows if row[-1] == "NO"]:
        yield (
            f"WARNING: does not fit on {', '.join(short)}. A smaller data.batch_size (with "
            "trainer.accumulate_grad_batches in 2D), system.guidance.loss_space=image, "
            "enable_vae_gradient_checkpointing and enable_sequential_cpu_offload save memory: docs/gpu.md"
        )


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("config", help="the experiment's YAML file")
    add("--gpu", nargs="+", default=list(data()["gpus"]), metavar="NAME", help="all by default")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    args = parser.parse_intermixed_args(argv)
    names = [word for word in args.gpu if "=" not in word]
    overrides = [word for word in (*args.overrides, *args.gpu) if "=" in word]

    def work() -> int:
        for name in names:
            gpu(name)
        settings = OmegaConf.to_container(read_checked(args.config, overrides), resolve=True)
        for line in lines(estimate(settings), names):
            print(line)
        return 0

    return with_host(work)


if __name__ == "__main__":
    sys.exit(main())
