"""Files that are either whole or absent."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """A temporary path, with the same suffix, that takes `path`'s place when the block
    ends without an error.

    Raises:
        OSError: Such as a full disk; it names `path`.

    Example:
        >>> with atomic_path("result.json") as temporary, open(temporary, "w") as file:
        ...     _ = file.write("{}")
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".tmp-{os.getpid()}-{name[-64:]}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
