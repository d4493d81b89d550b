"""The paper's Table 4: ten prompts by MSD, SDS, SDI and VSD on Stable Diffusion, beside DDIM's images.

python scripts/table4.py                     # needs a GPU, Stable Diffusion, Inception and CLIP ViT-L/14
python scripts/table4.py --ray ADDRESS       # the runs spread over a Ray cluster that shares the files
python scripts/table4.py --dry-run           # all of it on random tiny models, in minutes on a CPU

OUT/table4.md is the table with the paper's figures beside, OUT/index.html the report. The command can be
stopped and given again: finished runs are kept. FID is the Fréchet distance of Inception features to DDIM
images, equal to torchmetrics' (tests/lab/measure/test_metrics.py); CLIP similarity is 100 times the cosine.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.script import with_host

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ROOT / "custom" / "threestudio_msd" / "assets" / "prompts.txt"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--prompts", nargs="+", default=[str(PROMPTS)], help="prompts, or .txt files with one a line")
    add("--seeds", type=int, default=1)
    add("--particles", type=int, default=4, help="images a run")
    add("--reference-particles", type=int, default=16, help="DDIM images a prompt")
    add("--budget", nargs=1, default=["steps=400"], metavar="KIND=N")
    add("--scale", type=float, default=7.5, help="guidance of the DDIM images")
    add("--steps", type=int, default=50, help="steps of the DDIM images")
    add("--features", nargs="+", default=["inception", "clip"], metavar="NAME[=WEIGHTS]")
    add("--model", help="hub id or folder in the place of the configs' own")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=1, help="local processes, which share one GPU")
    where.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster; `local` starts one")
    add("--dry-run", action="store_true", help="on random tiny models, two optimiser steps")
    add("--out", type=Path, default=Path("outputs/table4"))
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare, and print the table; returns 1 if a run failed."""
    from msd_lab.compare.arguments import compared
    from msd_lab.compare.table4 import METHODS, rehearsal, table4
    from threestudio_msd.files import save_text

    overrides = [f"system.prompt_processor.pretrained_model_name_or_path={args.model}"] if args.model else []
    if args.dry_run:
        args.out = args.out.with_name(f"{args.out.name}-dry-run")
        overrides, args.features = rehearsal(args.out.resolve() / "models")
        args.budget, args.steps, args.probes = ["steps=2"], 2, (1, 2)
    args.configs = [",".join([str(ROOT / "configs" / f"{name}-sd.yaml"), *overrides]) for name in METHODS]
    args.first_seed, args.frames, args.quick, args.title = 0, 4, False, "Table 4"
    results, page = compared(args)
    table = table4(results)
    save_text(table, page.with_name("table4.md"))
    print(f"\n{table}\n{page}")
    return 1 if results.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
