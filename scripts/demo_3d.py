"""Text to 3D by mean-shift distillation on the embedded prior: `python scripts/demo_3d.py "a blue house"`.

Trains `configs/msd-nerf-tiny.yaml`, exports the mesh and says where pictures, turntable video and mesh are.
Further `key=value` arguments replace settings of that file.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launch
from launcher.demo import demo_arguments, newest_run


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of the launcher."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks as small as these only wait for a second thread
    arguments = demo_arguments(__doc__, "msd-nerf-tiny", "demo-3d", "a yellow duck", argv)
    status = launch.main([*arguments, "--train"])
    if status:
        return status
    run = newest_run(arguments)
    config, checkpoint = run / "configs" / "parsed.yaml", run / "ckpts" / "last.ckpt"
    return launch.main(["--config", str(config), "--export", f"resume={checkpoint}"])


if __name__ == "__main__":
    sys.exit(main())
