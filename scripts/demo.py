"""Text to image by mean-shift distillation on the embedded prior: `python scripts/demo.py "a blue house"`.

Trains `configs/msd-tiny.yaml` and says where the images are. Further `key=value` arguments replace settings
of that file.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launch

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "msd-tiny.yaml")


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of `launch.main`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("prompt", nargs="?", default="a green car", help="a colour and an object of the tiny world")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    args = parser.parse_args(argv)
    config = ["--config", CONFIG, "--train", "name=demo"]
    return launch.main([*config, f"system.prompt_processor.prompt={args.prompt}", *args.overrides])


if __name__ == "__main__":
    sys.exit(main())
