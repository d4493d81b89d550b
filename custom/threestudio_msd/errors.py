"""Errors that a user can correct, with one base class, and helpers that word their
messages.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """A request cannot be carried out; the message is one line that names the key,
    file, model or package at fault.

    `launch.py` and the scripts print it and exit with its `status`. Any other exception
    is a bug and shows its traceback.
    """

    status = 2

    def __str__(self) -> str:
        return super().__str__().replace("\r", "\\r").replace("\n", "\\n")


class NonFiniteError(UserError, FloatingPointError):
    """A tensor of the computation holds NaN or Inf."""

    status = 1


def install(extra: str) -> str:
    """Return the shell command that installs one of this package's optional extras.

    >>> install("3d")
    "pip install -e '.[3d]' in the checkout of threestudio-msd"
    """
    return f"pip install -e '.[{extra}]' in the checkout of threestudio-msd"


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Suggest the known word nearest to a word, as the end of a message.

    Returns:
        `; did you mean 'x'?`, or the empty text if no known word is similar.

    Example:
        >>> did_you_mean("stpes", ["steps", "solver"])
        "; did you mean 'steps'?"
    """
    nearest = difflib.get_close_matches(str(word), [str(name) for name in known], n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def of_file(error: OSError) -> str:
    """Format a system's error as `FILE: REASON`; without a file in it, the error's
    first line.

    >>> of_file(FileNotFoundError(2, "No such file or directory", "x"))
    'x: No such file or directory'
    """
    if error.filename is None or error.strerror is None:
        return first_line(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def status_of(work: Callable[[], int]) -> int:
    """Run a command, and print a UserError or OSError as one line on stderr instead of
    a traceback.

    Args:
        work: The command; returns its exit status.

    Returns:
        The exit status of `work`; 2 after a UserError or OSError, 1 after a
        NonFiniteError, 141 if the output is closed. Other exceptions pass through.
    """
    try:
        status = work()
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        return closed_output()
    except OSError as error:  # a file that cannot be read or written
        print(f"error: {of_file(error)}", file=sys.stderr)
        return UserError.status


def closed_output() -> int:
    """End what is printed after its reader has read enough, as of `| head`; returns the
    exit status, 141.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def is_of_disk(error: BaseException) -> bool:
    """Tell whether an exception is the system's error for a full, broken or read-only
    disk.
    """
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
    )


def first_line(error: BaseException) -> str:
    """Return an exception's message up to its first line break; its type's name if the
    message is empty.

    >>> first_line(KeyError())
    'KeyError'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
