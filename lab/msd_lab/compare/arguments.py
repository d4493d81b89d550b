"""A comparison of methods as a command line describes it: what `compare.py` and `table4.py` share."""

import argparse
from pathlib import Path

from launcher.checks.config import read_checked
from launcher.script import require_folder

from ..measure.features import read_features
from ..measure.references import Sampling
from ..report.comparison import write_report
from .comparison import Budget, Comparison, check, compare
from .grid import Method, check_cells, executor
from .prompts import read_prompts
from .results import Results


def compared(args: argparse.Namespace) -> tuple[Results, Path]:
    """Compare and report: what was found, and the report's page.

    Args:
        args: Of the options of `scripts/compare.py`.

    Raises:
        UserError: What is wrong with them.
    """
    require_folder(args.out)
    comparison = Comparison(
        methods=[Method.parse(word) for word in args.configs],
        prompts=read_prompts(args.prompts),
        seeds=args.seeds,
        budgets=[Budget.parse(text) for text in args.budget],
        out=args.out.resolve(),
        particles=args.particles,
        frames=args.frames,
        reference_particles=args.reference_particles,
        sampling=Sampling(args.particles, args.steps, args.scale),
        first_seed=args.first_seed,
        probes=getattr(args, "probes", None),
    )
    comparison = comparison.brief() if args.quick else comparison
    execute, extractors = executor("launch:main", args.jobs, args.ray), read_features(args.features)
    prompt, seed = comparison.prompts[0], args.first_seed
    firsts = [comparison.cell(method, prompt, seed, steps=1) for method in comparison.methods]
    configs = check_cells(firsts, read_checked)
    check(comparison, configs, extractors)
    results = compare(comparison, configs[0], extractors, execute)
    return results, write_report(comparison, results, args.title, comparison.methods[0].label)
