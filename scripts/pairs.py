"""Judge a method over every (object, colour) pair of the tiny world, beside guided DDIM samples of the same prior.

python scripts/pairs.py --config configs/msd-tiny.yaml --particles 4 --json pairs.json

Pairs that the prior was trained on and pairs held out of its training are counted apart. Finished runs are
kept in --out: the same command goes on where it stopped. A deviation is over particles: particle i of all
pairs is one repetition.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from threestudio_msd.evaluation.images import ImageRecord

HEADS = ("object", "colour", "both")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default=str(ROOT / "configs" / "msd-tiny.yaml"))
    parser.add_argument("--particles", type=int, default=4, help="images a pair")
    parser.add_argument("--max-steps", type=int, help="optimiser steps; the config's by default")
    parser.add_argument("--scale", type=float, default=3.0, help="guidance of the DDIM samples")
    parser.add_argument("--steps", type=int, default=50, help="steps of the DDIM samples")
    parser.add_argument("--every", type=int, default=1, help="take every n-th pair only, for a first look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="local processes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/pairs"))
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that replace the config's"
    )
    args = parser.parse_intermixed_args(argv)
    from launcher.script import with_host

    return with_host(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Run the grid, sample the reference, judge both and print the table."""
    from threestudio_msd.evaluation.grid import Cell, Method, run_grid, run_locally
    from threestudio_msd.evaluation.images import Run
    from threestudio_msd.evaluation.references import Sampling, sample_prompts
    from threestudio_msd.tinyworld.world import Caption, all_pairs

    from launcher.config import read

    prompts = [Caption(*pair).text for pair in all_pairs()[:: args.every]]
    config = read(args.config, [f"system.prompt_processor.prompt={prompts[0]}", *args.overrides])
    method = Method(Path(args.config).stem, str(Path(args.config).resolve()), tuple(args.overrides))
    steps = args.max_steps or config.trainer.max_steps
    root = str((args.out / f"{args.particles}x{steps}").resolve())
    cells = [Cell(method, prompt, args.seed, steps, root, args.particles, frames=1) for prompt in prompts]
    failed = run_grid(cells, partial(run_locally, launcher="launch:main", jobs=args.jobs))
    settings = Sampling(args.particles, args.steps, args.scale)
    reference = sample_prompts(config, prompts, [args.seed], settings, args.out / "ddim")
    runs = [Run(cell.folder) for cell in cells if cell not in failed]
    distilled = [record for finished in runs for record in finished.records()]
    figures = {method.label: accuracy(distilled), "DDIM": accuracy(reference)}
    about = {
        "config": args.config,
        "overrides": args.overrides,
        "steps": steps,
        "calls": max((finished.total_calls() for finished in runs), default=None),
        "seed": args.seed,
        "sampling": asdict(settings),
    }
    show({"about": about, "accuracy": figures}, args.json)
    return 1 if failed else 0


def accuracy(records: Sequence["ImageRecord"]) -> dict[str, dict[str, object]]:
    """Share of images judged to show what was asked: by kind of pair and head, mean and deviation over particles."""
    from threestudio_msd.evaluation.images import read_images
    from threestudio_msd.tinyworld.judge import load_judge
    from threestudio_msd.tinyworld.world import parse_prompt

    verdict = load_judge().classify(read_images(records))
    hits: dict[str, dict[str, dict[int, list[bool]]]] = {}
    for record, name, colour in zip(records, verdict.object, verdict.colour, strict=True):
        asked = parse_prompt(record.prompt)
        right = {"object": name == asked.object, "colour": colour == asked.colour}
        right["both"] = all(right.values())
        kind = hits.setdefault("held out" if asked.held_out else "seen", {head: {} for head in HEADS})
        for head in HEADS:
            kind[head].setdefault(record.particle, []).append(right[head])
    return {
        kind: {head: spread(by_particle) for head, by_particle in heads.items()}
        for kind, heads in hits.items()
    }


def spread(by_particle: dict[int, list[bool]]) -> dict[str, object]:
    """Mean over all images, deviation over the particles' means, and the count."""
    means = [statistics.mean(hits) for hits in by_particle.values()]
    count = sum(map(len, by_particle.values()))
    mean = sum(sum(hits) for hits in by_particle.values()) / count
    return {"mean": mean, "std": statistics.stdev(means) if len(means) > 1 else None, "images": count}


def percent(figure: dict[str, object]) -> str:
    """Mean and deviation in per cent."""
    deviation = "" if figure["std"] is None else f" ± {100 * figure['std']:.1f}"
    return f"{100 * figure['mean']:.1f}{deviation}"


def show(results: dict[str, object], out: Path | None) -> None:
    """Print the table, with the judge's own accuracy under it; write the JSON."""
    from rich.console import Console
    from rich.table import Table
    from threestudio_msd.files import save_text
    from threestudio_msd.tinyworld.judge import load_judge

    table = Table(title="right object and colour, per cent of images, mean and deviation over particles")
    for heading in ("method", "pairs", "images", *HEADS):
        table.add_column(heading)
    for method, kinds in results["accuracy"].items():
        for kind, heads in kinds.items():
            table.add_row(
                method, kind, str(heads["both"]["images"]), *[percent(figure) for figure in heads.values()]
            )
    Console().print(table)
    about = results["about"]
    print(
        f"{about['steps']} optimiser steps, {about['calls']:g} network calls an image"
        if about["calls"]
        else "no run finished"
    )
    own = load_judge().accuracy
    print(
        f"the judge's own accuracy on {own['renders']} fresh true renders: "
        + ", ".join(f"{head} {100 * own[head]:.1f} %" for head in HEADS if head in own)
    )
    if out:
        save_text(json.dumps({**results, "judge": own}, indent=2), out)


if __name__ == "__main__":
    sys.exit(main())
