"""Mean-shift distillation for threestudio: importing this package registers its modules with the threestudio at hand.

Where there is none, the parts that need none can still be used: `distillation`, `toy`, `tinyworld`, `evaluation`.
"""

from importlib.util import find_spec

from . import assets_path

__all__ = ["assets_path"]

if find_spec("threestudio") is not None:
    from . import guidance, image

    __all__ += ["guidance", "image"]
