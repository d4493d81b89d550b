"""One program at a time in an output folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from threestudio_msd.errors import UserError

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path, option: str = "--out") -> Iterator[None]:
    """Hold a folder's lock; the system releases it when this process ends, however it ends.

    Args:
        folder: It is made if it is missing.
        option: What names another folder, for the message.

    Raises:
        UserError: Another program, or another run in this one, holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{option}: another program is at work in {folder}") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
