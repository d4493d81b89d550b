"""Ablations of mean-shift distillation: one comparison for every choice that the method leaves open.

python scripts/ablate.py --config configs/msd-tiny.yaml --prompts
custom/threestudio_msd/assets/prompts-tiny.txt \\
    --only sampler bandwidth --budget steps=80 --out outputs/ablations

Each group's report is OUT/GROUP/index.html. Options that this program does not know go to scripts/compare.py.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

COMPARE = Path(__file__).resolve().parent / "compare.py"

GUIDANCE, SAMPLER, BANDWIDTH = "system.guidance", "system.guidance.sampler", "system.guidance.bandwidth"


def split(**settings: Any) -> dict[str, Any]:
    """The paper's sampler, its kernel in a limited interval of noise levels; `kernel_interval=None` is all of them."""
    chosen = {"type": "split", "steps": 8, "kernel_interval": [0.3, 5.0], **settings}
    return {SAMPLER: {name: value for name, value in chosen.items() if value is not None}}


def posterior(**settings: Any) -> dict[str, Any]:
    """The exact sampler."""
    return {SAMPLER: {"type": "posterior", "steps": 8, **settings}}


def bandwidth(kind: str, start: float = 8.0, end: float = 1.0, **settings: Any) -> dict[str, Any]:
    """A bandwidth schedule."""
    return {BANDWIDTH: {"type": kind, "start": start, "end": end, **settings}}


GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    # Fig. 9: the kernel in a limited interval of noise levels, and its centre moved along the inverse ODE
    "heuristics": {
        "plain": split(kernel_interval=None),
        "interval": split(),
        "inversion": split(kernel_interval=None, centre="inversion"),
        "both": split(centre="inversion"),
    },
    "interval": {
        "all": split(kernel_interval=None),
        **{
            f"{low:g} to {high:g}": split(kernel_interval=[low, high])
            for low, high in ((0.3, 10.0), (0.3, 5.0), (0.3, 2.0), (0.0, 5.0))
        },
    },
    "sampler": {
        "posterior": posterior(),
        "posterior-1st-order": posterior(order=1),
        "posterior-from-inversion": posterior(start="inversion"),
        "split": split(),
        "tweedie": {SAMPLER: {"type": "tweedie"}},
    },
    "solver": {solver: split(solver=solver) for solver in ("ddim", "dpmpp-2m", "heun")},
    "steps": {str(steps): split(steps=steps) for steps in (2, 4, 8, 16)},
    # Fig. 5, with the adaptive bandwidth beside the schedules
    "bandwidth": {
        **{kind: bandwidth(kind) for kind in ("exponential", "linear", "cosine")},
        "constant": bandwidth("constant", start=1.0, end=1.0),
        "adaptive": bandwidth("adaptive", patience=4),
    },
    "bandwidth-start": {str(start): bandwidth("exponential", start=start) for start in (2.0, 4.0, 8.0, 16.0)},
    "bandwidth-end": {str(end): bandwidth("exponential", end=end) for end in (0.1, 0.3, 1.0, 3.0)},
    "refresh": {str(every): {f"{GUIDANCE}.refresh_every": every} for every in (1, 2, 4, 8)},
    "noise": {
        name: {f"{GUIDANCE}.fixed_noise": fixed} for name, fixed in (("fresh", False), ("fixed", True))
    },
    "scale": {str(scale): {f"{GUIDANCE}.guidance_scale": scale} for scale in (1.0, 2.0, 4.0, 7.5)},
}


def write_variants(config: str, group: str, folder: Path) -> list[str]:
    """Write a configuration for every variant of a group; returns `LABEL=FILE` each."""
    words = []
    folder.mkdir(parents=True, exist_ok=True)
    for label, settings in GROUPS[group].items():
        variant = OmegaConf.load(config)
        for key, value in settings.items():
            OmegaConf.update(variant, key, value, merge=False)
        OmegaConf.save(variant, folder / f"{label}.yaml")
        words.append(f"{label}={folder / f'{label}.yaml'}")
    return words


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the worst exit status of the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="the configuration that every variant departs from")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=sorted(GROUPS),
        default=list(GROUPS),
        metavar="GROUP",
        help=", ".join(GROUPS),
    )
    parser.add_argument("--out", type=Path, required=True)
    args, others = parser.parse_known_args(argv)
    if not Path(args.config).is_file():
        parser.error(f"--config: no such file: {args.config}")
    worst = 0
    for group in args.only:
        out = args.out / group
        variants = write_variants(args.config, group, out / "configs")
        titled = ["--title", f"Ablation: {group}", "--out", str(out)]
        worst = max(
            worst, subprocess.call([sys.executable, str(COMPARE), "--configs", *variants, *others, *titled])
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
