"""Text to 3D by mean-shift distillation on the embedded prior: `python scripts/demo_3d.py "a blue house"`.

Trains `configs/msd-nerf-tiny.yaml`, exports the mesh and says where pictures, turntable video and mesh are.
Further `key=value` arguments replace settings of that file.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launch

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "msd-nerf-tiny.yaml"


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of the launcher."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("prompt", nargs="?", default="a yellow duck", help="a colour and an object of the tiny world")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks as small as these only wait for a second thread
    settings = ["name=demo-3d", f"system.prompt_processor.prompt={args.prompt}"]
    status = launch.main(["--config", str(CONFIG), "--train", *settings, *args.overrides])
    if status:
        return status
    folder = max(Path("outputs", "demo-3d").iterdir(), key=lambda path: path.stat().st_mtime)
    config, checkpoint = folder / "configs" / "parsed.yaml", folder / "ckpts" / "last.ckpt"
    return launch.main(["--config", str(config), "--export", f"resume={checkpoint}"])


if __name__ == "__main__":
    sys.exit(main())
