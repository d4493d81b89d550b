"""What the demos of `scripts/` share: a prompt and settings on a bundled config."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from msd_lab.compare.prompts import OVERRIDE

from launcher.config import read

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def demo_arguments(
    doc: str, config: str, name: str, prompt: str, argv: list[str] | None, own: Sequence[str] = ()
) -> list[str]:
    """The launcher's arguments for a demo, but for what to do.

    Args:
        doc: What the demo's `--help` says.
        config: Name of the bundled config.
        name: Of the run.
        prompt: Where none is given.
        argv: The demo's command line.
        own: Settings of the demo, which those on the command line replace.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("prompt", nargs="?", default=prompt, help="a colour and an object of the tiny world")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    args = parser.parse_args(argv)
    given = [args.prompt, *args.overrides]
    if OVERRIDE.match(args.prompt):  # settings alone
        given = [prompt, *given]
    settings = [f"name={name}", f"system.prompt_processor.prompt={given[0]}", *own, *given[1:]]
    return ["--config", str(CONFIGS / f"{config}.yaml"), *settings]


def newest_run(arguments: list[str]) -> Path:
    """The folder of the run that ended last, of those that these arguments of `demo_arguments` make."""
    _, config, *overrides = arguments
    settings = read(config, overrides)
    folder = Path(settings.exp_root_dir, settings.name)
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)
