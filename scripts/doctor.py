"""Say what this machine lacks for a config, and what mends it; the exit status is 0 if the config will run.

python scripts/doctor.py
python scripts/doctor.py --config configs/msd-sd.yaml system.prompt_processor.prompt="a tulip"
"""

import sys
from pathlib import Path

import alias  # noqa: F401  (puts the packages of this checkout on the path)

from launcher.doctor import report
from launcher.script import Parser, in_one_line

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "msd-tiny.yaml"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0 if the config will run here, 2 if something stops it."""
    parser = Parser(__doc__)
    parser.add_argument("--config", default=str(CONFIG))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    args = parser.parse_args(argv)
    return in_one_line(lambda: report(args.config, args.overrides))


if __name__ == "__main__":
    sys.exit(main())
