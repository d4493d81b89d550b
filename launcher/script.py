"""How a program of `scripts/` begins and ends."""

import sys
from collections.abc import Callable

from launcher.errors import LaunchError
from launcher.host import find_host, import_extensions, import_host


def with_host(work: Callable[[], int]) -> int:
    """Import the host and its extensions, do the work, and tell errors that the user can mend in one line.

    Returns:
        The exit status: that of `work`, 2 for what the user can mend, 130 after Ctrl-C.
    """
    try:
        import_host(find_host())
        import_extensions()
        return work()
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on with what is left.", file=sys.stderr)
        return 130
    except (LaunchError, OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
