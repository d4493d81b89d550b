"""`python -m msd_lab bench`: measure what the project costs, part by part."""

import sys
from pathlib import Path

for folder in ("lab", "custom", "."):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))

from msd_lab.bench.command import main  # noqa: E402  (found by the lines above)

if __name__ == "__main__":
    sys.exit(main())
