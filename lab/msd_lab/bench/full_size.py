"""Train at full size on the CPU: Stable Diffusion 2.1 with random weights, one image, two estimates.

python -m msd_lab.bench.full_size
python -m msd_lab.bench.full_size --configs msd-sd --dtypes bfloat16

A run is `launch.py --train` in a process of its own: minutes on one thread, some 10 GiB of memory. Peak
memory is the process's largest resident set. A run that meets NaN or Inf ends with an error, and so does
this command.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path

from launcher.script import Parser, whole

from ..report.table import Table
from .start import used
from .steps import CONFIGS

ESTIMATES = 2
SHOWN = ("loss", "grad_norm", "nfe")
HEADING = ("config", "dtype", "CPU s", "peak memory, GiB", *(f"{name}, step by step" for name in SHOWN))


def command(config: str, dtype: str, model: Path, folder: str) -> list[str]:
    """The command line of a run; every step of it makes an estimate."""
    settings = {
        "exp_root_dir": folder,
        "system.prompt_processor.pretrained_model_name_or_path": model,
        "system.prompt_processor.spawn": "false",
        "system.guidance.dtype": dtype,
        "data.n_particles": 1,
        "trainer.max_steps": ESTIMATES,
        "trainer.enable_progress_bar": "false",
    }
    if config.startswith("msd"):
        settings |= {"system.guidance.refresh_every": 1, "system.guidance.last_fit": 0}
    words = [f"{key}={value}" for key, value in settings.items()]
    return ["launch.py", "--config", str(CONFIGS / f"{config}.yaml"), "--train", *words]


def measure(config: str, dtype: str, model: Path, threads: int) -> tuple[str, ...]:
    """Make a run; returns its row of the table.

    Raises:
        RuntimeError: It fails, as it does where a number is not finite.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        usage = used(command(config, dtype, model.resolve(), folder), CONFIGS.parent)
        (metrics,) = Path(folder).rglob("metrics.csv")
        rows = list(csv.DictReader(metrics.open(encoding="utf-8")))
    steps = [
        " ".join(f"{float(row[key]):.4g}" for row in rows if row[key])
        for key in map("train/{}".format, SHOWN)
    ]
    return (config, dtype, f"{usage.ru_utime + usage.ru_stime:.0f}", f"{usage.ru_maxrss / 2**20:.1f}", *steps)


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__)
    parser.add_argument("--configs", nargs="+", default=["msd-sd", "sds-sd"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--models", type=Path, default=Path("outputs/random"), help="where pipelines lie")
    parser.add_argument("--threads", type=whole(), default=1)
    args = parser.parse_args(argv)
    from .accelerators import stand_in

    rows = []
    for config in args.configs:
        for dtype in args.dtypes:
            rows.append(measure(config, dtype, stand_in(config, args.models), args.threads))
            print(*rows[-1], flush=True)
    print(Table(HEADING, rows).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
