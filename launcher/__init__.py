"""What `launch.py` does: choose the host, check the config, run Lightning's trainer.

It shares the extension's errors and its rules for settings, which must be importable before any host is.
"""

import os
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = (
    "agg"  # nothing is shown on a screen; a name that matplotlib does not know would end its import
)

for folder in ("lab", "custom"):
    path = str(Path(__file__).resolve().parent.parent / folder)
    if path not in sys.path:
        sys.path.insert(0, path)

from threestudio_msd.errors import UserError, closed_output  # noqa: E402  (found by the lines above)

__all__ = ["UserError", "closed_output"]
