"""The entry of a clone of this repository in threestudio's `custom/`: registers the extension that it holds.

threestudio imports every folder of `custom/` after itself. Elsewhere, importing this does nothing.
"""

import sys
from pathlib import Path

if "threestudio" in sys.modules:
    sys.path.append(str(Path(__file__).parent / "custom"))
    import threestudio_msd  # noqa: F401  (registers)
