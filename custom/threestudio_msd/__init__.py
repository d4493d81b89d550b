"""Mean-shift distillation for threestudio.

Importing this package after `import threestudio`, as threestudio's launcher does, registers its modules
there. Without a threestudio nothing is registered and nothing heavy is imported: `distillation` alone needs
torch only.
"""

import sys

__all__ = ["register"]


def register() -> None:
    """Register guidance modules, prompt processor and text-to-2D system with the threestudio at hand."""
    from . import assets_path, guidance, image, scene  # noqa: F401  (importing them registers them)


if "threestudio" in sys.modules:
    register()
