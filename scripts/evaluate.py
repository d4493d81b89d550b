"""Measure images: Fréchet and kernel distance, precision, recall, alignment, saturation, sharpness, diversity.

python scripts/evaluate.py outputs/msd-tiny --reference outputs/ddim --features judge --json figures.json

DIR and --reference hold finished runs, or samples of scripts/sample.py.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "custom"))  # without threestudio, which is not needed


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    from threestudio_msd.evaluation.evaluate import as_json, described, figures, image_set, write_json
    from threestudio_msd.evaluation.features import FEATURES, FeatureError
    from threestudio_msd.evaluation.images import read_records

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="finished runs or samples, at any depth")
    parser.add_argument("--reference", type=Path, help="what to compare with; none: figures that need none")
    parser.add_argument("--features", choices=sorted(FEATURES), default="judge")
    parser.add_argument("--weights", help="weights of the feature extractor: a hub id or a local path")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures here")
    args = parser.parse_args(argv)
    try:
        features = FEATURES[args.features](args.weights)
        images = image_set(read_records(args.dir), features)
        references = (
            {"reference": image_set(read_records(args.reference), features)} if args.reference else {}
        )
        found = figures(images, references)
    except (FeatureError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    about = described(images, references, features)
    for name, value in about.items():
        print(f"{name}: {value}")
    for name, spread in found.items():
        print(f"{name:22} {spread}")
    if args.json:
        write_json(args.json, {"about": about, "figures": as_json(found)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
