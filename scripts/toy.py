"""The toys: `python scripts/toy.py COMMAND [--quick] [--seeds N] [--json OUT] [--out DIR]`; see docs/toy.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "custom"))

from threestudio_msd.toy.commands import main

if __name__ == "__main__":
    sys.exit(main())
