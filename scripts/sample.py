"""Sample reference images from a config's prior by guided DDIM.

python scripts/sample.py --config configs/msd-tiny.yaml --prompts "a red mug" "a blue car" --seeds 3 --out
outputs/ddim
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", required=True, help="its prompt processor and its guidance's pretrained model are used"
    )
    parser.add_argument("--prompts", nargs="+", required=True, help="prompts, or a file with one a line")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, counted from --first-seed")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--particles", type=int, default=4, help="images a prompt and seed")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--scale", type=float, default=7.5, help="classifier-free guidance w; 1 is none")
    parser.add_argument("--solver", choices=("ddim", "heun", "dpmpp-2m"), default="ddim")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that replace the config's"
    )
    args = parser.parse_intermixed_args(argv)

    from launcher.script import with_host

    return with_host(lambda: sample(args))


def sample(args: argparse.Namespace) -> int:
    """Sample every prompt with every seed."""
    from threestudio_msd.evaluation.prompts import read_prompts
    from threestudio_msd.evaluation.references import Sampling, sample_prompts

    from launcher.config import read

    prompts, overrides = split_overrides([*args.prompts, *args.overrides])
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    config = read(args.config, [f"system.prompt_processor.prompt={prompts[0]}", *overrides])
    settings = Sampling(args.particles, args.steps, args.scale, args.solver)
    records = sample_prompts(config, read_prompts(prompts), seeds, settings, args.out)
    print(f"{len(records)} images in {args.out}")
    return 0


def split_overrides(words: list[str]) -> tuple[list[str], list[str]]:
    """Prompts and `key=value` settings, which a list of words of any length before them would swallow."""
    return [w for w in words if not is_override(w)], [w for w in words if is_override(w)]


def is_override(word: str) -> bool:
    """Whether a word is `key.subkey=value` rather than a prompt: no spaces before its first `=`."""
    key, equals, _ = word.partition("=")
    return bool(equals) and key.replace(".", "").replace("_", "").isalnum()


if __name__ == "__main__":
    sys.exit(main())
