"""Train everything in `assets/` from nothing: the tiny prior, its judges, their figures and the sample sheet.

python scripts/train_prior.py                       all stages, into the package's assets
python scripts/train_prior.py --stage sheet         only measure, draw, and write the model card
python scripts/train_prior.py --stage probe         the linear probe, which needs the extra `probe`
python scripts/train_prior.py --stage sdedit        where samples lose details, by judges and probe
python scripts/train_prior.py --quick --out outputs/quick  every stage in seconds, for a smoke test

Stopped, it continues from its last checkpoint when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import pickle

from safetensors import SafetensorError
from threestudio_msd.assets_path import ASSETS
from threestudio_msd.errors import UserError, first_line

STAGES = ("data", "judges", "vae", "unet", "sheet")


def run(args: argparse.Namespace) -> int:
    """Run one stage, or all but the last two.

    Raises:
        UserError: An option is wrong, a file is damaged or missing, or a loss is not finite.
    """
    if args.quick and args.out.resolve() == ASSETS:
        raise UserError("--quick would overwrite the trained weights; give it its own --out")
    if not 0 <= args.seed < 2**31:
        raise UserError(f"--seed: expected an integer from 0 to 2^31 - 1, got {args.seed}")
    from .stages import FULL, QUICK, Training  # slow, so after the checks

    for folder in (args.out, args.cache):  # now: hours of work must not end at one that cannot be made
        folder.mkdir(parents=True, exist_ok=True)
    training = Training((QUICK if args.quick else FULL).seeded(args.seed), args.out, args.cache)
    try:
        for stage in STAGES if args.stage == "all" else (args.stage,):
            training.stages[stage]()
    except (pickle.UnpicklingError, EOFError, SafetensorError) as error:
        raise UserError(f"a file in {args.out} or {args.cache} is damaged: {first_line(error)}") from error
    except (FloatingPointError, ValueError) as error:
        raise UserError(str(error)) from error
    return 0
