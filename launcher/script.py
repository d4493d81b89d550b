"""How a program of `scripts/` begins and ends."""

import sys
from collections.abc import Callable

from threestudio_msd.errors import UserError

from launcher.host import find_host, import_extensions, import_host, user_errors


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
        return work()
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on with what is left.", file=sys.stderr)
        return 130
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
