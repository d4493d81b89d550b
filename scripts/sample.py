"""Sample reference images from a config's prior by guided DDIM.

python scripts/sample.py --config configs/msd-tiny.yaml --prompts "a red mug" "a blue car" \\
    --seeds 3 --out outputs/ddim
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import UserError
from launcher.script import require_folder, with_host


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", required=True, help="its prompt processor and its guidance's pretrained model are used")
    add("--prompts", nargs="+", required=True, help="prompts, or .txt files with one a line")
    add("--seeds", type=int, default=1, help="number of seeds, counted from --first-seed")
    add("--first-seed", type=int, default=0)
    add("--particles", type=int, default=4, help="images a prompt and seed")
    add("--steps", type=int, default=50)
    add("--scale", type=float, default=7.5, help="classifier-free guidance w; 1 is none")
    add("--solver", choices=("ddim", "heun", "dpmpp-2m"), default="ddim")
    add("--out", type=Path, required=True)
    add("overrides", nargs="*", metavar="key.subkey=value", help="settings that replace the config's")
    return parser


def run(args: argparse.Namespace) -> int:
    """Sample every prompt with every seed."""
    from msd_lab.compare.comparison import alone_in
    from msd_lab.compare.prompts import read_prompts, split_overrides
    from msd_lab.measure.references import Sampling, sample_prompts

    from launcher.checks.config import read_checked

    require_folder(args.out)
    words, overrides = split_overrides(args.prompts)
    overrides += args.overrides
    prompts = read_prompts(words)
    settings = Sampling(args.particles, args.steps, args.scale, args.solver)
    for option, value, least in (("--seeds", args.seeds, 1), ("--first-seed", args.first_seed, 0)):
        if value < least:
            raise UserError(f"{option}: expected {least} or more, got {value}")
    config = read_checked(args.config, [f"system.prompt_processor.prompt={prompts[0]}", *overrides])
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with alone_in(args.out):
        records = sample_prompts(config, prompts, seeds, settings, args.out)
    print(f"{len(records)} images in {args.out}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_intermixed_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
