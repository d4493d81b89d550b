"""The toys: `python scripts/toy.py COMMAND`; see docs/notebook/toy.md and `--help`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("custom", "lab")]

from msd_lab.toy.commands import main  # noqa: E402  (found by the line above)

if __name__ == "__main__":
    sys.exit(main())
