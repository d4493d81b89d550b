"""Train everything in `assets/` from nothing: the tiny prior, its judges, their figures and the sample sheet.

python scripts/train_prior.py                       all stages, into the package's assets
python scripts/train_prior.py --stage sheet         only measure, draw, and write the model card
python scripts/train_prior.py --stage probe         the linear probe, which needs the extra `probe`
python scripts/train_prior.py --stage sdedit        at which noise samples lose details, by judges and probe
python scripts/train_prior.py --quick --out outputs/quick  every stage in seconds, for a smoke test

Stopped, it goes on from its last checkpoint when started again with the same arguments.
"""

import argparse
import pickle
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "custom"))  # without threestudio, which is not needed

STAGES = ("data", "judges", "vae", "unet", "sheet")


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stage",
        choices=(*STAGES, "probe", "sdedit", "all"),
        default="all",
        help="one stage, or all in this order but the last two, which need the extra `probe`",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "custom" / "threestudio_msd" / "assets")
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache") / "tinyworld", help="renders and checkpoints"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; needs its own --out")
    args = parser.parse_args(argv)
    if args.quick and args.out == parser.get_default("out"):
        parser.error("--quick would overwrite the trained weights; give it its own --out")

    if not 0 <= args.seed < 2**31:
        parser.error(f"--seed: expected an integer from 0 to 2^31 - 1, got {args.seed}")

    from msd_lab.training.stages import FULL, QUICK, Training
    from safetensors import SafetensorError
    from threestudio_msd.errors import UserError, first_line, of_file

    recipe = (QUICK if args.quick else FULL).seeded(args.seed)
    training = Training(recipe, args.out, args.cache)
    try:
        for folder in (args.out, args.cache):  # now: hours of work must not end at one that cannot be made
            folder.mkdir(parents=True, exist_ok=True)
        for stage in STAGES if args.stage == "all" else (args.stage,):
            training.stages[stage]()
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"error: {of_file(error)}", file=sys.stderr)
        return 2
    except (pickle.UnpicklingError, EOFError, SafetensorError) as error:
        print(f"error: a file in {args.out} or {args.cache} is damaged: {first_line(error)}", file=sys.stderr)
        return 2
    except (UserError, FloatingPointError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "status", 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
