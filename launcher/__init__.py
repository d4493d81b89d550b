"""What `launch.py` does: choose the host, check the config, run Lightning's trainer.

It shares the extension's errors and its rules for settings, which must be importable before any host is.
"""

import sys
from pathlib import Path

CUSTOM = Path(__file__).resolve().parent.parent / "custom"
if str(CUSTOM) not in sys.path:
    sys.path.insert(0, str(CUSTOM))

from threestudio_msd.errors import UserError  # noqa: E402  (found by the line above)

__all__ = ["UserError"]
