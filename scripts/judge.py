"""Say how many images show the object and the colour that a prompt asks for.

python scripts/judge.py outputs/demo/*/save --prompt "a green car" --json judged.json

PATH is a PNG or a folder, whose PNGs at any depth are read. The judge's own accuracy on fresh true renders is
printed
beside: the one recorded when it was trained, and with --verify N one measured now on about N renders.
"""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "custom"))  # without threestudio, which is not needed


def pngs(paths: list[Path]) -> list[Path]:
    """The PNG files among `paths` and below the folders among them.

    Raises:
        FileNotFoundError: If a path does not exist or none is a PNG.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    files = [f for path in paths for f in ([path] if path.is_file() else sorted(path.rglob("*.png")))]
    if not files:
        raise FileNotFoundError(f"no PNG in {', '.join(map(str, paths))}")
    return files


def read(path: Path):
    """One image ``[h, w, 3]`` in [0, 1].

    Raises:
        ValueError: If it is not an image, or not square: a grid would be judged as one image.
    """
    import numpy as np
    import torch
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image") from error
    if pixels.shape[0] != pixels.shape[1]:
        raise ValueError(
            f"{path} is {pixels.shape[1]} x {pixels.shape[0]}; the judge reads single square images"
        )
    return torch.from_numpy(pixels.copy()).float() / 255


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--prompt", required=True, help="what the images should show, such as 'a red mug'")
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="also write the figures and every verdict here"
    )
    parser.add_argument(
        "--verify", type=int, metavar="N", default=0, help="measure the judge on about N fresh renders"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the renders of --verify")
    args = parser.parse_args(argv)

    from threestudio_msd.files import save_text
    from threestudio_msd.tinyworld.judge import load_judge, measure_judge
    from threestudio_msd.tinyworld.world import OBJECTS, parse_prompt

    try:
        asked, judge, files = parse_prompt(args.prompt), load_judge(), pngs(args.paths)
        verdicts = [judge.classify(read(file)[None]) for file in files]
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = [
        {"file": os.fspath(file)} | {key: value[0] for key, value in vars(verdict).items()}
        for file, verdict in zip(files, verdicts, strict=True)
    ]
    right = {head: [row[head] == getattr(asked, head) for row in rows] for head in ("object", "colour")}
    right["both"] = [a and b for a, b in zip(*right.values(), strict=True)]
    figures = {head: sum(hits) / len(rows) for head, hits in right.items()}
    own = {"recorded": judge.accuracy}
    if args.verify > 0:
        own["measured"] = measure_judge(judge, max(1, args.verify // len(OBJECTS)), args.seed)
    print(
        f"{asked.text!r}, {len(rows)} images: "
        + ", ".join(f"{k} {100 * v:.1f} %" for k, v in figures.items())
    )
    for name, accuracy in own.items():
        told = ", ".join(f"{head} {100 * accuracy[head]:.1f} %" for head in ("object", "colour", "view"))
        print(f"the judge itself on {accuracy['renders']} fresh renders ({name}): {told}")
    if args.json:
        result = {
            "prompt": args.prompt,
            "images": len(rows),
            "accuracy": figures,
            "judge": own,
            "verdicts": rows,
        }
        save_text(json.dumps(result, indent=2) + "\n", args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
