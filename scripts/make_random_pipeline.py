"""Write a pipeline with random weights: the real classes and files without a hub, for tests and timings.

python scripts/make_random_pipeline.py --like sd15 --size tiny --out outputs/random-sd15
python scripts/make_random_pipeline.py --like sdxl --size full --out outputs/random-sdxl   # 6 GB, in float16
"""

import argparse
import sys
from pathlib import Path

import alias  # noqa: F401  (puts the packages of this checkout on the path)

from launcher.script import Parser, whole, with_host


def run(args: argparse.Namespace) -> int:
    """Write it, and say how large it is."""
    import torch
    from msd_lab.bench.random_pipelines import parameters, save_random_pipeline

    for part, count in parameters(args.like, args.size).items():
        print(f"{part:16} {count:>14,} parameters")
    dtype = args.dtype or ("float16" if args.size == "full" else "float32")
    print(save_random_pipeline(args.out, args.like, args.size, args.seed, getattr(torch, dtype)))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = Parser(__doc__)
    parser.add_argument("--like", required=True, help="sd15, sd21, sdxl, sd3, flux, if")
    parser.add_argument("--size", default="tiny", help="tiny, or full, the published one")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="float16 for full")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    return with_host(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
