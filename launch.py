"""Train, validate, test or export: threestudio's command line, on threestudio or on the portable host.

python launch.py --config configs/msd-tiny.yaml --train system.prompt_processor.prompt="a green car"
"""

import argparse
import gc
import os
import re
import sys
import traceback

from launcher import UserError, closed_output
from launcher.host import CHECKED, check_types_of, find_host, import_extensions, import_host, user_errors
from launcher.script import Parser

GPUS = re.compile(r"-1|((\d+|(GPU|MIG)-[\w/-]+)(,(?!$)|$))*")


def parse_args(argv: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options, and the `key=value` overrides behind them."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--config", required=True, help="the experiment's YAML file")
    gpus = "GPUs to use, such as 0 or 1,2; CUDA_VISIBLE_DEVICES wins; no effect without a GPU"
    add("--gpu", type=_gpus, default="0", help=gpus)
    action = parser.add_mutually_exclusive_group(required=True)
    for name in ("train", "validate", "test", "export"):
        action.add_argument(f"--{name}", action="store_true")
    shows = "draw what the guidance sees along its bandwidth, one sheet, and end: docs/bandwidth.md"
    action.add_argument("--draws", action="store_true", help=shows)
    action.add_argument("--citations", action="store_true", help="print what to cite, as BibTeX, and end")
    add("--start", metavar="PICTURE", help="the render that --draws begins at; noise by default")
    changed = "resume although prompt, guidance or geometry are set otherwise"
    add("--changed", action="store_true", help=changed)
    add("--verbose", action="store_true", help="log everything, show tracebacks")
    add("--typecheck", action="store_true", help="check annotated types and shapes while running")
    viewer = "show the scene in a browser on this machine while it trains, at http://127.0.0.1:8080"
    add("--viewer", nargs="?", type=_port, const=8080, metavar="PORT", help=viewer)
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    words = sys.argv[1:] if argv is None else list(argv)
    after = words.index("--viewer") + 1 if "--viewer" in words else len(words)
    if after < len(words) and "=" in words[after]:  # an override, and no port
        words[after - 1] = "--viewer=8080"
    args, unknown = parser.parse_known_args(words)
    if args.viewer is not None and not args.train:
        parser.error("--viewer shows a scene while it trains: it needs --train")
    if args.start is not None and not args.draws:
        parser.error("--start is the render that --draws begins at: it needs --draws")
    return args, args.overrides + unknown


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text}")
    return int(text)


def _gpus(text: str) -> str:
    if not GPUS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected numbers such as 0 or 1,2, got {text!r}")
    return text


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    It is 0, 2 for an error that the user can mend, 1 for NaN or infinity half way, 130 after Ctrl-C, 141 if
    the output is closed, 143 after SIGTERM. `--verbose` shows where an error comes from.
    """
    args, overrides = parse_args(argv)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", args.gpu)  # before torch is imported
    gc.disable()  # imports create a million lasting objects: looking through them costs a second; see `run`
    try:
        return _launch(args, overrides)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return closed_output()
    except UserError as error:
        if args.verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return error.status
    finally:
        gc.enable()


def _launch(args: argparse.Namespace, overrides: list[str]) -> int:
    described = find_host()
    if "LOCAL_RANK" not in os.environ:  # the first process starts those of further GPUs
        print(f"host: {described}", flush=True)
    if args.typecheck:
        for package in CHECKED:
            check_types_of(package)
    threestudio = import_host(described)
    import torch

    from launcher.checks.config import check, check_action
    from launcher.config import read_run
    from launcher.resume import check_resumed

    import_extensions()
    settings = read_run(args.config, overrides, max(1, torch.cuda.device_count()), resumes=args.train)
    check(settings, threestudio)
    check_action(args, settings, threestudio)
    checkpoint = check_resumed(settings, args.changed, args.train)
    if args.citations:
        from launcher.messages import papers

        print("\n\n".join(paper.bibtex for paper in papers(settings, threestudio)))
        return 0
    if args.draws:
        from launcher.draws import draw_sheet

        with user_errors():
            return draw_sheet(settings, args.start)
    from launcher.run import run  # imports Lightning, which takes seconds

    with user_errors():
        return run(args, overrides, settings, threestudio, checkpoint)


if __name__ == "__main__":
    sys.exit(main())
