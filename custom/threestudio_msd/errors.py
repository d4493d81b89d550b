"""What a user can mend: one base class for its errors, and the words that help."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """What was asked for cannot be done; the message is one line that names the key, file, model or package.

    `launch.py` and the scripts print it and return its `status`. Anything else that they meet is a bug and
    shows its traceback.
    """

    status = 2

    def __str__(self) -> str:
        return super().__str__().replace("\r", "\\r").replace("\n", "\\n")


class NonFiniteError(UserError, FloatingPointError):
    """A tensor of the computation holds NaN or Inf."""

    status = 1


def install(extra: str) -> str:
    """The command that installs an extra of `setup.py`; the package is on no index.

    >>> install("3d")
    "pip install -e '.[3d]' in the checkout of threestudio-msd"
    """
    return f"pip install -e '.[{extra}]' in the checkout of threestudio-msd"


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or nothing.

    >>> did_you_mean("stpes", ["steps", "solver"])
    "; did you mean 'steps'?"
    """
    nearest = difflib.get_close_matches(str(word), [str(name) for name in known], n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def of_file(error: OSError) -> str:
    """What the system says of a file that cannot be read or written; libraries raise errors without a file.

    >>> of_file(FileNotFoundError(2, "No such file or directory", "x"))
    'x: No such file or directory'
    """
    if error.filename is None or error.strerror is None:
        return first_line(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def status_of(work: Callable[[], int]) -> int:
    """Do the work, and tell errors that the user can mend in one line on stderr.

    Returns:
        The exit status: that of `work`, or of the error.
    """
    try:
        return work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except OSError as error:  # a file that cannot be read or written
        print(f"error: {of_file(error)}", file=sys.stderr)
        return UserError.status


def is_of_disk(error: BaseException) -> bool:
    """Whether an error is that of a disk which is full, broken or cannot be written."""
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
    )


def first_line(error: BaseException) -> str:
    """An error's message up to its first line break, or its type's name where there is none.

    >>> first_line(KeyError())
    'KeyError'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
