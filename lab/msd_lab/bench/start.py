"""CPU time from the start of `launch.py` to an answer, in two checkouts that take turns.

python -m msd_lab.bench.start OLD NEW --rounds 5
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from launcher.script import Parser, whole

CONFIG = "configs/msd-tiny.yaml"
WRONG_KEY = ["launch.py", "--config", CONFIG, "--train", "data.widht=3"]
FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook

def end(optimizer, *args):
    if sum(p.numel() for group in optimizer.param_groups for p in group["params"]) > 1:  # not a check's trial
        os._exit(0)

register_optimizer_step_post_hook(end)
import launch
launch.main(sys.argv[1:])
"""


def used(command: list[str], checkout: Path, status: int = 0) -> resource.struct_rusage:
    """Runs a command in a checkout and returns what its process used.

    Raises:
        RuntimeError: It ends with another status.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryFile("w+") as errors:
        streams = {"stdout": subprocess.DEVNULL, "stderr": errors}
        child = subprocess.Popen([sys.executable, *command], cwd=checkout, env=environment, **streams)
        _, code, usage = os.wait4(child.pid, 0)
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:]
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode != status:
        said = ": ".join([f"ended with {child.returncode}, expected {status}", *last])
        raise RuntimeError(f"{checkout}: {' '.join(command)} {said}")
    return usage


def cpu_seconds(command: list[str], checkout: Path, status: int) -> float:
    """Runs a command as `used` does and returns its user and system time."""
    usage = used(command, checkout, status)
    return usage.ru_utime + usage.ru_stime


def main(argv: list[str] | None = None) -> int:
    """Prints median and quartiles of both checkouts, and the ratio of the medians."""
    parser = Parser(__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=whole(), default=5)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        train = ["-c", FIRST_STEP, "--config", CONFIG, "--train", f"exp_root_dir={folder}"]
        for name, command, status in (("wrong key", WRONG_KEY, 2), ("first training step", train, 0)):
            pairs = [
                [cpu_seconds(command, checkout, status) for checkout in (args.old, args.new)]
                for _ in range(args.rounds)
            ]
            medians = []
            for label, seconds in zip(("old", "new"), zip(*pairs, strict=True), strict=True):
                low, middle, high = statistics.quantiles(seconds, n=4)
                medians.append(middle)
                print(f"{name:20} {label}: {middle:.2f} s CPU (quartiles {low:.2f} to {high:.2f})")
            print(f"{name:20} new / old: {medians[1] / medians[0]:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
