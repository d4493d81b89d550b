"""Judge a method over every (object, colour) pair of the tiny world, beside DDIM samples of its prior.

python scripts/pairs.py --config configs/msd-tiny.yaml --particles 4 --json pairs.json

Both judges look. Pairs that the prior was trained on and those held out are counted apart. Finished runs are
kept in --out: the same command goes on where it stopped. A deviation is over particles: particle i of all
pairs is one repetition.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import UserError
from launcher.script import require_folder, require_writable, with_host

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "msd-tiny.yaml")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", default=CONFIG)
    add("--particles", type=int, default=4, help="images a pair")
    add("--max-steps", type=int, help="optimiser steps; the config's by default")
    add("--scale", type=float, default=3.0, help="guidance of the DDIM samples")
    add("--steps", type=int, default=50, help="steps of the DDIM samples")
    add("--every", type=int, default=1, help="take every n-th pair only, for a first look")
    add("--seed", type=int, default=0)
    add("--jobs", type=int, default=2, help="local processes")
    add("--json", type=Path)
    add("--out", type=Path, default=Path("outputs/pairs"))
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    return parser


def require_numbers(args: argparse.Namespace) -> None:
    """Check the numbers that nothing else checks.

    Raises:
        UserError: One is too small.
    """
    for name, least in (("max_steps", 1), ("every", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')}: expected {least} or more, got {value}")


def run(args: argparse.Namespace) -> int:
    """Distil and sample every pair, judge, print, write; returns 1 if a run failed."""
    from msd_lab.compare.grid import Method, check_cells, executor
    from msd_lab.compare.pairs import Trial, as_table, own_accuracy, prompts
    from msd_lab.compare.results import to_json
    from msd_lab.measure.references import Sampling
    from msd_lab.tinyworld.judge import JUDGES, load_judge
    from rich.console import Console
    from threestudio_msd.files import save_text

    from launcher.checks.config import read_checked

    require_folder(args.out)
    require_numbers(args)
    require_writable("--json", args.json)
    asked, judges = prompts(args.every), {f"judge {name}": load_judge(name) for name in JUDGES}
    sampling = Sampling(args.particles, args.steps, args.scale)
    config = read_checked(args.config, [f"system.prompt_processor.prompt={asked[0]}", *args.overrides])
    method = Method(Path(args.config).stem, str(Path(args.config).resolve()), tuple(args.overrides))
    steps = args.max_steps or config.trainer.max_steps
    trial = Trial(method, config, asked, args.seed, steps, sampling, args.out)
    execute = executor("launch:main", args.jobs)
    check_cells(trial.cells(), read_checked)
    found = trial.run(execute, judges)
    Console().print(as_table(found.accuracy))
    print(f"{steps} optimiser steps, {found.nfe:g} NFE an image; DDIM: {sampling}")
    for name, judge in judges.items():
        print(f"{name}: {own_accuracy(judge)}")
    if args.json:
        arguments = vars(args) | {"json": str(args.json), "out": str(args.out)}
        about = {"arguments": arguments, "steps": steps, "nfe": found.nfe}
        own = {name: judge.accuracy for name, judge in judges.items()}
        written = {"about": about, "accuracy": to_json(found.accuracy), "judges": own}
        save_text(json.dumps(written, indent=1), args.json)
    return 1 if found.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_intermixed_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
