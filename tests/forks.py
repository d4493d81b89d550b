"""Forked children of the process that tests run in.

A process of its own imports the libraries again, which takes most of its time.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Collection
from pathlib import Path

OURS = ("dummy_extension", "launch", "launcher", "msd_lab", "threestudio", "threestudio_msd")


def forked(act: Callable[[], int | None], forgotten: Collection[str] = ()) -> tuple[int, str]:
    """Act in a forked child.

    Args:
        act: What the child does; its result or the code of its SystemExit is the status.
        forgotten: Packages that the child imports anew.

    Returns:
        The exit status, below 0 for a signal, and what it printed.
    """
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, Path("output").read_text()
    code = 99
    try:
        output = os.open("output", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1)
        forget(forgotten)
        code = act() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def forget(packages: Collection[str]) -> None:
    """Make packages be imported anew, as in a process that has not imported them."""
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]
