"""Text to 3D by mean-shift distillation on the embedded prior: `python scripts/demo_3d.py "a blue house"`.

Trains `configs/msd-nerf-tiny.yaml` in rounds of half its cameras, exports the mesh and
a page that turns it, measures both against the truth, and prints where pictures and
figures are. Further `key=value` arguments replace settings of that file.
"""

import json
import os
import sys
from pathlib import Path

from demo import demo_arguments

import launch
from launcher.config import read
from launcher.script import with_host

HALF = ("data.cameras_per_round=24", "data.refresh_every=15", "trainer.val_check_interval=60")


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of the launcher."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks as small as these only wait for a second thread
    arguments = demo_arguments(__doc__, "msd-nerf-tiny", "demo-3d", "a yellow duck", argv, HALF)
    status = launch.main([*arguments, "--train"])
    if status:
        return status
    run = newest_run(arguments)
    config, checkpoint = run / "configs" / "parsed.yaml", run / "ckpts" / "last.ckpt"
    status = launch.main(["--config", str(config), "--export", f"resume={checkpoint}"])
    return status or with_host(lambda: measure(run))


def newest_run(arguments: list[str]) -> Path:
    """The folder of the run that ended last, of those that these arguments of `demo_arguments` make."""
    _, config, *overrides = arguments
    settings = read(config, overrides)
    folder = Path(settings.exp_root_dir, settings.name)
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)


def measure(run: Path) -> int:
    """Print the figures of a run's scene and mesh, and write them beside its pictures."""
    from msd_lab.measure.trained_scene import as_lines, run_figures
    from threestudio_msd.files import save_text

    figures = run_figures(run)
    save_text(json.dumps(figures, indent=1) + "\n", run / "save" / "figures.json")
    print(as_lines(figures))
    print(f"{run / 'save' / 'figures.json'}; docs/notebook/scene.md says what they mean")
    for page in run.glob("save/*-export/*.html"):
        print(f"{page}: the object, to turn in any browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
