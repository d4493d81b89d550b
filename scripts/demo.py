"""Text to image by mean-shift distillation on the embedded prior: `python scripts/demo.py "a blue house"`.

Trains `configs/msd-tiny.yaml` and says where the images are. Further `key=value` arguments replace settings
of that file.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import launch  # noqa: E402  (lies in the repository's root)


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of `launch.main`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "prompt", nargs="?", default="a green car", help="a colour and an object of the tiny world"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that replace the config's"
    )
    args = parser.parse_args(argv)
    timestamp = datetime.now().strftime("@%Y%m%d-%H%M%S")
    settings = [f"timestamp={timestamp}", f"system.prompt_processor.prompt={args.prompt}"]
    config = str(ROOT / "configs" / "msd-tiny.yaml")
    status = launch.main(["--config", config, "--train", "name=demo", *settings, *args.overrides])
    if status == 0:
        report(timestamp)
    return status


def report(timestamp: str) -> None:
    """Say what the run that began at `timestamp` wrote."""
    (save,) = Path("outputs", "demo").glob(f"*{timestamp}/save")
    images = sorted(save.glob("it*-test/*.png"), key=lambda path: int(path.stem))
    (video,) = save.glob("it*-test.mp4")
    print(f"\nImages:                  {images[0].parent}/  ({len(images)} files)")
    print(f"Video:                   {video}")
    print(f"Start, path and result:  {save / 'path.png'}")


if __name__ == "__main__":
    sys.exit(main())
