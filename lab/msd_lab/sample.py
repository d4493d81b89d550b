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

PROMPT = "system.prompt_processor.prompt"
OPTIONS = {
    PROMPT: "--prompts",
    "seed": "--first-seed",
    "data.n_particles": "--particles",
    "system.guidance.guidance_scale": "--scale",
}
"""Options in the place of settings of a run."""


def run(args: argparse.Namespace) -> int:
    """Sample every prompt with every seed.

    Raises:
        UserError: An option is wrong, or another program is at work in the folder.
    """
    words, overrides = split_overrides(args.prompts)
    prompts = read_prompts(words)
    sampling = Sampling(args.particles, args.steps, args.scale, args.solver)
    settings = [*overrides, *args.overrides]
    for setting in settings:
        key = setting.partition("=")[0]
        if key in OPTIONS:
            raise UserError(f"{key}: cannot be set here: {OPTIONS[key]} says it")
    config = read_checked(args.config, [f"{PROMPT}={prompts[0]}", *settings])
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with alone_in(args.out):
        records = sample_prompts(config, prompts, seeds, sampling, args.out)
    print(f"{len(records)} images in {args.out}")
    return 0
