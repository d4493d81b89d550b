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
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TESTS = [f"tests/{part}" for part in ("distillation", "priors", "guidance", "image", "portable")]
EXTRAS = ("3d", "dev")
PINS = {  # of threestudio's requirements.txt; below them what those need of a present Python
    **{
        "pytorch-lightning": "==2.0.0",
        "omegaconf": "==2.3.0",
        "diffusers": "==0.19.3",
        "transformers": "==4.28.1",
    },
    **{
        "accelerate": "<0.25",
        "huggingface_hub": "<0.26",
        "numpy": "<2",
        "scipy": "<1.14",
        "setuptools": "<81",
    },
    "peft": None,
}
ROWS = ("oldest", "bounds", "pins", "today")
SHOWN = ("torch", "pytorch-lightning", "diffusers", "transformers", "peft", "omegaconf", "numpy")


@dataclass(frozen=True)
class Outcome:
    """What one row came to.

    Attributes:
        versions: Of the packages in `SHOWN`, as installed; a dash where one is not.
        said: Counts of tests, or why there are none.
        seconds: The tests took.
        green: Whether all passed.
    """

    versions: list[str]
    said: str
    seconds: float
    green: bool


def requirements() -> list[Requirement]:
    """What setup.py asks for, the extras of tests among it."""
    from distutils.core import run_setup

    with contextlib.redirect_stdout(io.StringIO()):
        made = run_setup(str(ROOT / "setup.py"), stop_after="init")
    wanted = [*made.install_requires, *(line for extra in EXTRAS for line in made.extras_require[extra])]
    return [Requirement(line) for line in wanted]


def lowest(requirement: Requirement) -> str:
    """A requirement at its lower bound; the newest patch of it, as some first ones were withdrawn."""
    (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
    parts = bound.split(".")
    version = bound if len(parts) > 2 else ".".join([*parts, "0"][:2]) + ".*"
    return f"{named(requirement)}=={version}"


def named(requirement: Requirement) -> str:
    """A requirement's name with its extras."""
    extras = ",".join(sorted(requirement.extras))
    return f"{requirement.name}[{extras}]" if extras else requirement.name


def packages(row: str, torch: str | None) -> list[str]:
    """What a row installs."""
    asked = requirements()
    wanted = [torch if one.name == "torch" and torch and row != "oldest" else wish(row, one) for one in asked]
    if row != "today":
        wanted.append("sentencepiece")  # for the tokenizers of SD 3, Flux and IF, before transformers 5
    if row == "pins":
        names = {one.name for one in asked}
        wanted += [f"{name}{pin}" for name, pin in PINS.items() if name not in names and pin]
    return [line for line in wanted if line]


def wish(row: str, requirement: Requirement) -> str | None:
    """One requirement as a row has it; None for what it leaves out."""
    if row in ("oldest", "bounds"):
        return lowest(requirement)
    if row == "pins":
        pin = PINS.get(requirement.name, "")
        return None if pin is None else f"{named(requirement)}{pin}"
    excluded = [str(part) for part in requirement.specifier if part.operator == "!="]
    return named(requirement) + ",".join(excluded)


def prepare(row: str, folder: Path, torch: str | None) -> Path:
    """Make a row's environment, once; its Python.

    Raises:
        CalledProcessError: Its packages do not install together.
    """
    python, ready = folder / "bin" / "python", folder / "ready.txt"
    wanted = "\n".join(packages(row, torch))
    if not (ready.is_file() and ready.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *wanted.splitlines()], check=True)
        ready.write_text(wanted)
    return python


def run(row: str, folder: Path, torch: str | None, arguments: list[str]) -> Outcome:
    """Prepare a row and run the tests in it."""
    try:
        python = prepare(row, folder, torch)
    except subprocess.CalledProcessError:
        return Outcome(["-"] * len(SHOWN), "its packages do not install together", 0.0, False)
    report, began = folder / "report.xml", time.monotonic()
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    subprocess.run(command, cwd=ROOT, check=False)
    said, green = counted(report)
    return Outcome(versions(python), said, time.monotonic() - began, green)


def counted(report: Path) -> tuple[str, bool]:
    """What pytest's report counts, and whether all is well."""
    if not report.is_file():
        return "pytest did not start", False
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    total, bad, skipped = (
        sum(int(suite.get(name, 0)) for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    said = f"{total - bad - skipped} passed, {bad} failed, {skipped} skipped"
    return said, total > skipped and not bad


def versions(python: Path) -> list[str]:
    """Of the packages in `SHOWN`."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = dict(line.split("==") for line in listed.stdout.lower().splitlines() if "==" in line)
    return [found.get(name, "-") for name in SHOWN]


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
    print(f"| row | {' | '.join(SHOWN)} | tests | seconds |")
    print("|" + "---|" * (len(SHOWN) + 3), flush=True)
    for row in args.rows or ROWS:
        outcome = run(row, args.envs.resolve() / row, args.torch, tests or TESTS)
        print(
            f"| {row} | {' | '.join(outcome.versions)} | {outcome.said} | {outcome.seconds:.0f} |", flush=True
        )
        green &= outcome.green
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
