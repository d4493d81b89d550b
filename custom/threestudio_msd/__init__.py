"""Mean-shift distillation for threestudio.

Importing this package after `import threestudio`, as threestudio's launcher does,
registers its modules there. Without a threestudio nothing is registered and nothing
heavy is imported: `distillation` alone needs torch only.
"""

import sys
from types import ModuleType

__all__ = ["__version__", "register"]
__version__ = "0.1.0"

OLDEST_HOST = (0, 2, 3)


def register() -> None:
    """Register this package's guidance, prompt processor, data and systems with the
    imported threestudio.

    Raises:
        UserError: threestudio is older than 0.2.3.
    """
    import threestudio

    require_version(threestudio)
    from . import assets_path, guidance, image, scene  # noqa: F401  (importing them registers them)


def require_version(host: ModuleType) -> None:
    """Check that a threestudio is new enough.

    Args:
        host: The imported module; one without `__version__` counts as too old.

    Raises:
        UserError: Its version is below 0.2.3.
    """
    from .errors import UserError

    version = getattr(host, "__version__", "0")
    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < OLDEST_HOST:
        wanted = ".".join(map(str, OLDEST_HOST))
        raise UserError(
            f"threestudio-msd needs threestudio {wanted} or newer, this one is {version}: "
            "git pull in its checkout"
        )


if "threestudio" in sys.modules:
    register()
