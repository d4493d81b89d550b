"""How a program of `scripts/` begins and ends."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from threestudio_msd.errors import UserError, status_of

from launcher.host import find_host, import_extensions, import_host, user_errors


class Parser(argparse.ArgumentParser):
    """A program's options; a wrong one is answered in one line.

    Args:
        doc: The program's docstring, the text of its --help.
        **settings: As `ArgumentParser` takes them.
    """

    def __init__(self, doc: str | None = None, **settings: object) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message.removeprefix('argument ')} (--help lists the options)\n")


def whole(least: int = 1, most: int = 10_000) -> Callable[[str], int]:
    """The type of an option that is a whole number in bounds."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return parse


def with_host(work: Callable[[], int]) -> int:
    """Import the host and its extensions, do the work, and tell errors that the user can mend in one line.

    Returns:
        The exit status: that of `work`, 2 for what the user can mend, 130 after Ctrl-C.
    """

    def hosted() -> int:
        import_host(find_host())
        import_extensions()
        with user_errors():
            return work()

    return in_one_line(hosted)


def in_one_line(work: Callable[[], int]) -> int:
    """Do the work, and tell errors that the user can mend in one line; see `with_host`."""
    try:
        return status_of(work)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on with what is left.", file=sys.stderr)
        return 130


def _takes_files(folder: Path) -> bool:
    """Whether files can be made there; file systems without blocks, such as /proc, take none."""
    return os.access(folder, os.W_OK | os.X_OK) and os.statvfs(folder).f_blocks > 0


def require_folder(path: Path, option: str = "--out") -> None:
    """Check that an option names a folder that can be written, or could be made.

    Raises:
        UserError: It is not.
    """
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise UserError(f"{option}: {there} is a file, expected a folder")
    if not _takes_files(there):
        raise UserError(f"{option}: {path} cannot be written")


def require_writable(option: str, path: Path | None) -> None:
    """Check that a file could be written: hours of work must not end at one that cannot.

    Raises:
        UserError: It is a folder, or lies in none that can be written.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option}: {path} is a folder, expected a file")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not _takes_files(there) or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"{option}: {path} cannot be written")
