"""Text to image by mean-shift distillation on the embedded prior: `python scripts/demo.py "a blue house"`.

Trains `configs/msd-tiny.yaml` and prints where the images are. Further `key=value` arguments replace settings
of that file.
"""

import os
import sys
from collections.abc import Sequence

import alias  # noqa: F401  (puts the packages of this checkout on the path)
from msd_lab.compare.prompts import OVERRIDE

import launch
from launcher.host import ROOT
from launcher.script import Parser


def demo_arguments(
    doc: str | None, config: str, name: str, prompt: str, argv: list[str] | None, own: Sequence[str] = ()
) -> list[str]:
    """The launcher's arguments for a demo, except the action.

    Args:
        doc: The text of the demo's `--help`.
        config: Name of the bundled config.
        name: The run's.
        prompt: The default prompt.
        argv: The demo's command line.
        own: Settings of the demo, which those on the command line replace.
    """
    parser = Parser(doc)
    add = parser.add_argument
    add("prompt", nargs="?", default=prompt, help="a colour and an object of the tiny world")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the config's")
    args = parser.parse_args(argv)
    given = [args.prompt, *args.overrides]
    if OVERRIDE.match(args.prompt):  # settings alone
        given = [prompt, *given]
    settings = [f"name={name}", f"system.prompt_processor.prompt={given[0]}", *own, *given[1:]]
    return ["--config", str(ROOT / "configs" / f"{config}.yaml"), *settings]


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return its exit status, that of `launch.main`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside other work a second thread costs far more
    return launch.main([*demo_arguments(__doc__, "msd-tiny", "demo", "a green car", argv), "--train"])


if __name__ == "__main__":
    sys.exit(main())
