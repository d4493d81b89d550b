"""The command line of `scripts/toy.py`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from threestudio_msd.errors import status_of

from launcher.script import Parser, require_folder, require_writable, whole

from .experiment import QUICK, Measurement, Scale, run
from .experiments import EXPERIMENTS
from .report import show, write_json, write_markdown, write_page


def parser() -> Parser:
    parse = Parser("Mean-shift distillation on 2D densities, measured against the truth.")
    add = parse.add_argument
    add("command", choices=[*(experiment.name for experiment in EXPERIMENTS), "all"])
    add("--quick", action="store_true", help="all of it small, for a first look: its figures prove nothing")
    add("--seeds", type=whole(), help="seeds to average over (3; with --quick 1)")
    add("--json", type=Path, metavar="FILE", help="write one object a figure to this file")
    add("--markdown", type=Path, metavar="FILE", help="write the tables to this file as Markdown")
    add(
        "--out",
        type=Path,
        default=Path("outputs/toy"),
        metavar="DIR",
        help="folder for pictures and the page",
    )
    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 1 where a number is not finite, 2 for the user's other errors,
        130 when stopped.
    """
    arguments, console = parser().parse_args(argv), Console()
    command = shlex.join(["python", "scripts/toy.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        return status_of(lambda: _run(arguments, command, console))
    except KeyboardInterrupt:
        kept = "finished figures are in the JSON file, " if arguments.json else ""
        console.print(f"stopped; {kept}trained networks in the cache")
        return 130


def _run(arguments: argparse.Namespace, command: str, console: Console) -> int:
    """Run the experiments and show each; the JSON file is written along the way."""
    require_folder(arguments.out)
    require_writable("--json", arguments.json)
    require_writable("--markdown", arguments.markdown)
    scale, seeds = (QUICK, 1) if arguments.quick else (Scale(), 3)
    seeds, finished = arguments.seeds or seeds, []

    def save(found: list[Measurement]) -> None:
        if arguments.json:
            write_json([*(m for results in finished for m in results.measurements), *found], arguments.json)

    for experiment in EXPERIMENTS:
        if arguments.command in (experiment.name, "all"):
            began = time.monotonic()
            finished.append(run(experiment, scale, seeds, arguments.out, save))
            show(finished[-1], console)
            console.print(f"{experiment.name} took {time.monotonic() - began:.0f} s", style="dim")
            save([])
    if arguments.markdown:
        write_markdown(finished, command, arguments.markdown)
    if arguments.command == "all":
        page = arguments.out / "toy.html"
        write_page(finished, seeds, command, page)
        console.print(f"page: {page}")
    return 0
