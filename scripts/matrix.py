"""The tests on old packages and new: one virtual environment a row, a table of what passed.

    python scripts/matrix.py [ROW ...] [--torch torch==2.13.0] [-- PYTEST_ARGUMENTS]

Rows: `oldest` is setup.py's lower bounds, `bounds` the same but for torch, `pins` what threestudio asks for,
`today` the newest of all. Takes minutes a row, and downloads; not part of `make test`. The table is Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from distutils.core import run_setup
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TESTS = [f"tests/{part}" for part in ("distillation", "priors", "guidance", "image", "portable")]
EXTRAS = ("3d", "dev")
PINS = {  # of threestudio's requirements.txt; below them what those need of a present Python
    "pytorch-lightning": "==2.0.0",
    "omegaconf": "==2.3.0",
    "diffusers": "==0.19.3",
    "transformers": "==4.28.1",
    "accelerate": "<0.25",
    "huggingface_hub": "<0.26",
    "numpy": "<2",
    "scipy": "<1.14",
    "setuptools": "<81",
}
ROWS = ("oldest", "bounds", "pins", "today")
SHOWN = ("torch", "pytorch-lightning", "diffusers", "transformers", "peft", "omegaconf", "numpy")


def requirements() -> list[Requirement]:
    """The requirements of setup.py, with the extras that tests need."""
    with contextlib.redirect_stdout(io.StringIO()):
        made = run_setup(str(ROOT / "setup.py"), stop_after="init")
    wanted = [*made.install_requires, *(line for extra in EXTRAS for line in made.extras_require[extra])]
    return [Requirement(line) for line in wanted]


def version_of(row: str, requirement: Requirement) -> str:
    """The versions that a row allows of a requirement, as pip takes them.

    At a lower bound it is the newest patch, as some first ones were withdrawn.
    """
    if row == "pins":
        return PINS.get(requirement.name, "")
    if row == "today":
        return ",".join(str(part) for part in requirement.specifier if part.operator == "!=")
    (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
    parts = bound.split(".")
    return f"=={bound}" if len(parts) > 2 else "==" + ".".join([*parts, "0"][:2]) + ".*"


def packages(row: str, torch: str | None) -> list[str]:
    """What pip installs for a row; threestudio's packages know no peft."""
    wanted = {
        one.name: f"{one.name}[{','.join(sorted(one.extras))}]".removesuffix("[]") + version_of(row, one)
        for one in requirements()
    }
    if torch and row != "oldest":
        wanted["torch"] = torch
    if row == "pins":
        wanted = {name: f"{name}{pin}" for name, pin in PINS.items()} | wanted
        del wanted["peft"]
    # sentencepiece: for the tokenizers of SD 3, Flux and IF, before transformers 5
    return [*wanted.values(), *(["sentencepiece"] if row != "today" else [])]


def prepare(folder: Path, wanted: str) -> list[str]:
    """Make an environment of these packages, unless it is there; the start of a command in it.

    Raises:
        CalledProcessError: They do not install together.
    """
    command, ready = [str(folder / "bin" / "python"), "-m"], folder / "ready.txt"
    if not (ready.is_file() and ready.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [*command, "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *wanted.splitlines()], check=True)
        ready.write_text(wanted)
    return command


def run(row: str, folder: Path, torch: str | None, arguments: list[str]) -> tuple[list[str], bool]:
    """Run the tests in a row's environment: its line of the table, and whether all passed."""
    try:
        command = prepare(folder, "\n".join(packages(row, torch)))
    except subprocess.CalledProcessError:
        return [row, *["-"] * len(SHOWN), "its packages do not install together", "0"], False
    report, began = folder / "report.xml", time.monotonic()
    report.unlink(missing_ok=True)
    tests = [*command, "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    subprocess.run(tests, cwd=ROOT, check=False)
    seconds, (text, green) = time.monotonic() - began, counted(report)
    pip = [*command, "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.lower().splitlines()
    found = dict(line.split("==") for line in listed if "==" in line)
    return [row, *(found.get(name, "-") for name in SHOWN), text, f"{seconds:.0f}"], green


def counted(report: Path) -> tuple[str, bool]:
    """The counts of pytest's report, and whether tests ran and all passed."""
    if not report.is_file():
        return "pytest did not start", False
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
    )
    bad = failures + errors
    text = f"{total - bad - skipped} passed, {bad} failed, {skipped} skipped"
    return text, total > skipped and not bad


def main(argv: list[str] | None = None) -> int:
    """Run the rows that are asked for; 0 if all are green."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", default=[], help=", ".join(ROWS))
    parser.add_argument("--torch", help="what to install as torch, but in `oldest`; such as torch==2.13.0")
    parser.add_argument("--envs", type=Path, default=ROOT / ".matrix", help="where the environments lie")
    given = sys.argv[1:] if argv is None else argv
    end = given.index("--") if "--" in given else len(given)
    args, tests = parser.parse_args(given[:end]), given[end + 1 :]
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; expected {', '.join(ROWS)}")
    green = True
    print(f"| row | {' | '.join(SHOWN)} | tests | seconds |\n|{'---|' * (len(SHOWN) + 3)}", flush=True)
    for row in args.rows or ROWS:
        line, passed = run(row, args.envs.resolve() / row, args.torch, tests or TESTS)
        print(f"| {' | '.join(line)} |", flush=True)
        green &= passed
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
