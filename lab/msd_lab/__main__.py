"""`python -m msd_lab COMMAND`: the laboratory's commands."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the checkout, for its launcher

from msd_lab.commands import main

sys.exit(main())
