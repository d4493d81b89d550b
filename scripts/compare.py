"""Compare methods: run every config on every prompt with every seed at equal budgets, then measure and report.

python scripts/compare.py --configs configs/msd-tiny.yaml configs/sds-tiny.yaml --prompts "a red mug" --seeds
3 \\
    --budget steps=80 calls=320 --out outputs/compare

A config is a file, or LABEL=FILE, or FILE,key=value,... with settings of its own. Finished runs are kept: the
same command goes on where it stopped. OUT/index.html is the report, OUT/results.json its figures,
OUT/tables.md its tables, OUT/sheet-BUDGET.png its pictures.
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from threestudio_msd.evaluation.grid import Method

LAUNCHER = "launch:main"
TABLE = (
    "frechet_ddim",
    "frechet_truth",
    "alignment",
    "clip_similarity",
    "precision_ddim",
    "recall_ddim",
    "saturation",
    "diversity",
)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", required=True, metavar="CONFIG")
    parser.add_argument("--prompts", nargs="+", required=True, help="prompts, or .txt files with one a line")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--particles", type=int, default=4, help="images a run")
    parser.add_argument(
        "--budget", nargs="+", default=["steps=100"], metavar="steps=N|calls=N", help="one table each"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=2, help="local processes")
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on a Ray cluster that shares the file system; `local` starts one",
    )
    parser.add_argument("--features", default="judge", help="judge, inception or clip")
    parser.add_argument("--weights", help="weights of the feature extractor: a hub id or a local path")
    parser.add_argument("--frames", type=int, default=8, help="points of the curves")
    parser.add_argument("--reference-particles", type=int, default=16, help="reference images a prompt")
    parser.add_argument("--scale", type=float, default=7.5, help="guidance of the DDIM images")
    parser.add_argument("--steps", type=int, default=50, help="steps of the DDIM images")
    parser.add_argument(
        "--quick", action="store_true", help="a first look: three prompts, one seed, the first budget only"
    )
    parser.add_argument("--title", default="Comparison")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    from launcher.script import with_host

    return with_host(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Compare, report, and print the tables."""
    from threestudio_msd.evaluation.compare import Budget, Comparison, compare
    from threestudio_msd.evaluation.features import FEATURES
    from threestudio_msd.evaluation.grid import run_locally, run_on_ray
    from threestudio_msd.evaluation.prompts import read_prompts
    from threestudio_msd.evaluation.references import Sampling
    from threestudio_msd.evaluation.report import markdown, write_report, write_sheets
    from threestudio_msd.files import save_text

    from launcher.config import read

    if args.features not in FEATURES:
        raise ValueError(f"--features: expected one of {', '.join(FEATURES)}, got {args.features!r}")
    methods = [read_method(word) for word in args.configs]
    prompts, budgets = read_prompts(args.prompts), [Budget.parse(text) for text in args.budget]
    comparison = Comparison(
        methods=methods,
        prompts=prompts[:3] if args.quick else prompts,
        seeds=1 if args.quick else args.seeds,
        budgets=budgets[:1] if args.quick else budgets,
        out=args.out.resolve(),
        particles=args.particles,
        frames=args.frames,
        reference_particles=args.reference_particles,
        sampling=Sampling(args.particles, args.steps, args.scale),
    )
    configs = [
        read(m.config, [f"system.prompt_processor.prompt={comparison.prompts[0]}", *m.overrides])
        for m in methods
    ]
    features = FEATURES[args.features](args.weights)
    if args.ray:
        execute = partial(run_on_ray, launcher=LAUNCHER, address=args.ray)
    else:
        execute = partial(run_locally, launcher=LAUNCHER, jobs=args.jobs)
    results = compare(comparison, configs[0], features, execute)
    tables = markdown(results, TABLE, methods[0].label)
    save_text(tables, comparison.out / "tables.md")
    page = write_report(comparison, results, args.title, methods[0].label)
    write_sheets(comparison, results)
    print(f"\n{tables}\n{page}")
    return 1 if results["failed"] else 0


def read_method(word: str) -> "Method":
    """A method from `[LABEL=]FILE[,key=value...]`; its label is the file's name up to `-tiny` or the like by default."""
    from threestudio_msd.evaluation.grid import Method

    file, *overrides = re.split(r",(?=[\w.]+=)", word)  # a comma inside a list of numbers does not count
    label, equals, path = file.partition("=")
    if not equals:
        path, label = file, Path(file).stem.split("-")[0].upper()
    if not Path(path).is_file():
        raise ValueError(f"--configs: no such file: {path}")
    return Method(label, str(Path(path).resolve()), tuple(overrides))


if __name__ == "__main__":
    sys.exit(main())
