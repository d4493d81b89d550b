"""Measure images: Fréchet and kernel distance, precision, recall, alignment, saturation, diversity and more.

python scripts/evaluate.py outputs/demo --reference outputs/ddim --features judge --json figures.json

DIR and --reference hold finished runs, or samples of scripts/sample.py; other pictures need --prompt.
With --three-d each DIR is one text-to-3D run, whose scene and exported mesh are measured; --features clip
then scores the mesh by T3Bench's protocol, for prompts without a truth.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import UserError
from launcher.script import in_one_line, require_writable, with_host


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "dir", type=Path, nargs="+", metavar="DIR", help="finished runs or samples, at any depth, or pictures"
    )
    add("--reference", type=Path, help="what to compare with; none: figures that need none")
    add("--prompt", help="what the images of DIR should show, if it is not what their runs were asked for")
    add(
        "--features",
        nargs="+",
        default=["judge"],
        metavar="NAME[=WEIGHTS]",
        help="judge, second-judge, inception, clip",
    )
    add("--three-d", action="store_true", help="measure the scenes of text-to-3D runs, from 40 cameras")
    add("--json", type=Path, metavar="OUT", help="also write the figures here")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    from msd_lab.compare.results import to_json
    from msd_lab.measure.evaluate import described, figures, image_set
    from msd_lab.measure.features import read_features
    from msd_lab.measure.images import read_records
    from threestudio_msd.files import save_text

    require_writable("--json", args.json)
    if args.prompt is not None and not args.prompt.strip():
        raise UserError("--prompt: expected what the images should show, got nothing")
    extractors = read_features(args.features)
    images = image_set([record for dir in args.dir for record in read_records(dir, args.prompt)], extractors)
    references = {"reference": image_set(read_records(args.reference), extractors)} if args.reference else {}
    about, found = described(images, references, extractors), figures(images, references)
    for name, value in vars(about).items():
        print(f"{name}: {value}")
    for name, spread in found.items():
        print(f"{name:22} {spread}")
    if args.json:
        save_text(
            json.dumps({"about": to_json(about), "figures": to_json(found)}, indent=1) + "\n", args.json
        )
    return 0


def run_three_d(args: argparse.Namespace) -> int:
    """Measure scenes, print, write."""
    from msd_lab.measure.features import read_features
    from msd_lab.measure.trained_scene import as_lines, run_figures
    from threestudio_msd.files import save_text

    require_writable("--json", args.json)
    for option in ("reference", "prompt"):
        if getattr(args, option) is not None:
            raise UserError(f"--{option}: expected none with --three-d, which measures against the truth")
    features = read_features(args.features)
    found = {str(folder): run_figures(folder, features) for folder in args.dir}
    for folder, figures in found.items():
        print(f"{folder}\n{as_lines(figures)}")
    if args.json:
        save_text(json.dumps(found, indent=1) + "\n", args.json)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 2 for what the user can mend, 130 after Ctrl-C."""
    args = arguments().parse_args(argv)
    return with_host(lambda: run_three_d(args)) if args.three_d else in_one_line(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
