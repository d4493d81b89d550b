"""Measure images: Fréchet and kernel distance, precision, recall, alignment, saturation, diversity and more.

python -m msd_lab evaluate outputs/demo --reference outputs/ddim --features judge --json figures.json

DIR and --reference hold finished runs, or samples of `python -m msd_lab sample`; other pictures
need --prompt. With --three-d each DIR is one text-to-3D run, whose scene and exported mesh are
measured; --features clip then scores the mesh by T3Bench's protocol, for prompts without a truth.
"""

import argparse
import json
from typing import Any

from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.prompts import from_library

from .compare.results import to_json
from .measure.evaluate import described, figures, image_set
from .measure.features import read_features
from .measure.images import read_records
from .measure.trained_scene import as_lines, run_figures


def run(args: argparse.Namespace) -> int:
    found = scenes(args) if args.three_d else images(args)
    if args.json:
        save_text(json.dumps(found, indent=1) + "\n", args.json)
    return 0


def images(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print images.

    Raises:
        UserError: The prompt is empty, or images or features cannot be had.
    """
    if args.prompt is not None and not args.prompt.strip():
        raise UserError("--prompt: expected what the images should show, got nothing")
    prompt = args.prompt and from_library(args.prompt, "--prompt")
    extractors = read_features(args.features)
    records = [record for folder in args.dir for record in read_records(folder, prompt)]
    if len({record.path.resolve() for record in records}) < len(records):
        raise UserError(f"{' '.join(map(str, args.dir))}: an image lies in two of them")
    measured = image_set(records, extractors)
    references = {}
    if args.reference:
        references["reference"] = image_set(read_records(args.reference, prompt), extractors)
    about, found = described(measured, references, extractors), figures(measured, references)
    for name, value in vars(about).items():
        print(f"{name}: {value}")
    for name, spread in found.items():
        print(f"{name:22} {spread}")
    return {"about": to_json(about), "figures": to_json(found)}


def scenes(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print scenes.

    Raises:
        UserError: An option of images is given, or a folder holds no finished scene.
    """
    for option in ("reference", "prompt"):
        if getattr(args, option) is not None:
            raise UserError(f"--{option}: expected none with --three-d, which measures against the truth")
    features = read_features(args.features)
    found = {str(folder): run_figures(folder, features) for folder in args.dir}
    for folder, figures_of_one in found.items():
        print(f"{folder}\n{as_lines(figures_of_one)}")
    return found
