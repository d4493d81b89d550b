"""The toys: `python scripts/toy.py COMMAND`; see docs/toy.md and `--help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "custom"))

from threestudio_msd.toy.commands import main

if __name__ == "__main__":
    sys.exit(main())
