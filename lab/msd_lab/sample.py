"""Sample reference images from a config's prior by guided DDIM.

python -m msd_lab sample --config configs/msd-tiny.yaml --prompts "a red mug" "a blue car" \\
    --seeds 3 --out outputs/ddim

The config's prompt processor and its guidance's pretrained model are used.
"""

import argparse

from threestudio_msd.errors import UserError

from launcher.checks.config import read_checked
from launcher.lock import alone_in

from .compare.prompts import read_prompts, split_overrides
from .measure.references import Sampling, sample_prompts


def run(args: argparse.Namespace) -> int:
    """Sample every prompt with every seed.

    Raises:
        UserError: An option is wrong, or another program is at work in the folder.
    """
    words, overrides = split_overrides(args.prompts)
    prompts = read_prompts(words)
    settings = Sampling(args.particles, args.steps, args.scale, args.solver)
    for option, value, least in (("--seeds", args.seeds, 1), ("--first-seed", args.first_seed, 0)):
        if value < least:
            raise UserError(f"{option}: expected {least} or more, got {value}")
    prompt = f"system.prompt_processor.prompt={prompts[0]}"
    config = read_checked(args.config, [prompt, *overrides, *args.overrides])
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with alone_in(args.out):
        records = sample_prompts(config, prompts, seeds, settings, args.out)
    print(f"{len(records)} images in {args.out}")
    return 0
