"""The command line of `scripts/toy.py`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from threestudio_msd.errors import UserError, first_line, status_of

from .figures import bandwidth, figure1, landscape, paths, points
from .measurement import Measurement
from .report import Section, show, write_json, write_markdown, write_page
from .settings import QUICK, Scale, Settings
from .tables import annealing, bias, frontier, scan, stopping, table1, table2, table3

COMMANDS: dict[str, Callable[[Settings], Section]] = {
    command.__name__: command
    for command in (
        figure1,
        paths,
        landscape,
        points,
        table1,
        table2,
        table3,
        bias,
        frontier,
        annealing,
        stopping,
        scan,
        bandwidth,
    )
}
"""In the page's order."""


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parse = argparse.ArgumentParser(
        prog="toy.py", description="Mean-shift distillation on 2D densities, measured against the truth."
    )
    add = parse.add_argument
    add("command", choices=[*COMMANDS, "all"])
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

    def work() -> int:
        _require_folders(arguments)
        done = list(_sections(arguments, console))
        _write(arguments, done, sys.argv[1:] if argv is None else argv, console)
        return 0

    try:
        return status_of(work)
    except KeyboardInterrupt:
        kept = "finished figures are in the JSON file, " if arguments.json else ""
        console.print(f"stopped; {kept}trained networks in the cache")
        return 130


def _write(
    arguments: argparse.Namespace, done: Sequence[Section], argv: Sequence[str], console: Console
) -> None:
    """Write the tables and the page."""
    command = shlex.join(["python", "scripts/toy.py", *argv])
    if arguments.markdown:
        write_markdown(done, command, arguments.markdown)
    if arguments.command == "all":
        page = arguments.out / "toy.html"
        write_page(done, _seeds(arguments), command, page)
        console.print(f"page: {page}")


def _seeds(arguments: argparse.Namespace) -> int:
    return arguments.seeds or (1 if arguments.quick else 3)


def _require_folders(arguments: argparse.Namespace) -> None:
    """Make the folders now: hours of work must not end at a folder that cannot be written to."""
    for key, file in (
        ("--out", arguments.out / "toy.html"),
        *((key, getattr(arguments, key[2:])) for key in ("--json", "--markdown")),
    ):
        try:
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.is_dir():
                    raise UserError(f"{key}: {file} is a folder, expected a file")
        except OSError as error:
            raise UserError(f"{key}: no folder can be made at {file.parent}: {first_line(error)}") from error


def _sections(arguments: argparse.Namespace, console: Console) -> Iterator[Section]:
    """Run the commands asked for and show what each found; the JSON file follows along the way."""
    finished: list[Measurement] = []

    def save(found: list[Measurement]) -> None:
        if arguments.json:
            write_json([*finished, *found], arguments.json)

    settings = Settings(_seeds(arguments), QUICK if arguments.quick else Scale(), arguments.out, save)
    for name in COMMANDS if arguments.command == "all" else [arguments.command]:
        began = time.monotonic()
        section = COMMANDS[name](settings)
        show(section, console)
        console.print(f"{name} took {time.monotonic() - began:.0f} s", style="dim")
        finished += section.measurements
        save([])
        yield section
