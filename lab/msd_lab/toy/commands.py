"""The command line of `scripts/toy.py`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from threestudio_msd.errors import UserError, first_line, status_of

from .experiment import QUICK, Measurement, Results, Scale, run
from .experiments import EXPERIMENTS
from .report import show, write_json, write_markdown, write_page


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parse = argparse.ArgumentParser(
        prog="toy.py", description="Mean-shift distillation on 2D densities, measured against the truth."
    )
    add = parse.add_argument
    add("command", choices=[*(experiment.name for experiment in EXPERIMENTS), "all"])
    add("--quick", action="store_true", help="all of it small, for a first look: its figures prove nothing")
    add("--seeds", type=_count, default=None, help="seeds to average over (3; with --quick 1)")
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


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 1 where a number is not finite, 2 for other errors of the user's, 130 when stopped.
    """
    arguments, console = parser().parse_args(argv), Console()
    arguments.seeds = arguments.seeds or (1 if arguments.quick else 3)
    command = shlex.join(["python", "scripts/toy.py", *(sys.argv[1:] if argv is None else argv)])

    def work() -> int:
        _require_folders(arguments)
        _write(arguments, list(_findings(arguments, console)), command, console)
        return 0

    try:
        return status_of(work)
    except KeyboardInterrupt:
        kept = "finished figures are in the JSON file, " if arguments.json else ""
        console.print(f"stopped; {kept}trained networks in the cache")
        return 130


def _require_folders(arguments: argparse.Namespace) -> None:
    """Make the folders now: hours of work must not end at a folder that cannot be written to."""
    files = {"--out": arguments.out / "toy.html", "--json": arguments.json, "--markdown": arguments.markdown}
    for key, file in files.items():
        try:
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.is_dir():
                    raise UserError(f"{key}: {file} is a folder, expected a file")
        except OSError as error:
            raise UserError(f"{key}: no folder can be made at {file.parent}: {first_line(error)}") from error


def _findings(arguments: argparse.Namespace, console: Console) -> Iterator[Results]:
    """Run the experiments asked for and show what each found; the JSON file follows along the way."""
    finished: list[Measurement] = []

    def save(found: list[Measurement]) -> None:
        if arguments.json:
            write_json([*finished, *found], arguments.json)

    scale = QUICK if arguments.quick else Scale()
    for experiment in EXPERIMENTS:
        if arguments.command in (experiment.name, "all"):
            began = time.monotonic()
            found = run(experiment, scale, arguments.seeds, arguments.out, save)
            show(found, console)
            console.print(f"{experiment.name} took {time.monotonic() - began:.0f} s", style="dim")
            finished += found.measurements
            save([])
            yield found


def _write(arguments: argparse.Namespace, found: Sequence[Results], command: str, console: Console) -> None:
    """Write the tables and the page."""
    if arguments.markdown:
        write_markdown(found, command, arguments.markdown)
    if arguments.command == "all":
        page = arguments.out / "toy.html"
        write_page(found, arguments.seeds, command, page)
        console.print(f"page: {page}")
