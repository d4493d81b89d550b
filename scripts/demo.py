"""Text to image by mean-shift distillation on the embedded prior: `python scripts/demo.py "a blue house"`.

Trains `configs/msd-tiny.yaml` and says where the images are. Further `key=value` arguments replace settings
of that file.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launch
from launcher.demo import demo_arguments


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of `launch.main`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside other work a second thread costs far more
    return launch.main([*demo_arguments(__doc__, "msd-tiny", "demo", "a green car", argv), "--train"])


if __name__ == "__main__":
    sys.exit(main())
