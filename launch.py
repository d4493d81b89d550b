"""Train, validate, test or export: threestudio's command line, on threestudio or on the portable host.

python launch.py --config configs/msd-tiny.yaml --train system.prompt_processor.prompt="a green car"
"""

import argparse
import logging
import os
import re
import sys
import traceback

from launcher import UserError
from launcher.host import CHECKED, check_types_of, find_host, import_extensions, import_host, user_errors

GPUS = re.compile(r"-1|((\d+|(GPU|MIG)-[\w/-]+)(,(?!$)|$))*")


def parse_args(argv: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the `key=value` overrides behind them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="the experiment's YAML file")
    parser.add_argument(
        "--gpu",
        default="0",
        help="GPUs to use, such as 0 or 1,2; CUDA_VISIBLE_DEVICES wins; no effect without a GPU",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    for name in ("train", "validate", "test", "export"):
        action.add_argument(f"--{name}", action="store_true")
    action.add_argument("--citations", action="store_true", help="print what to cite, as BibTeX, and end")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="resume although prompt, guidance or geometry are set otherwise",
    )
    parser.add_argument("--verbose", action="store_true", help="log debug messages, show tracebacks")
    parser.add_argument(
        "--typecheck", action="store_true", help="check annotated types and shapes while running"
    )
    parser.add_argument(
        "--viewer",
        nargs="?",
        type=int,
        const=8080,
        metavar="PORT",
        help="show the scene in a browser on this machine while it trains, at http://127.0.0.1:8080",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    words = sys.argv[1:] if argv is None else list(argv)
    after = words.index("--viewer") + 1 if "--viewer" in words else len(words)
    if after < len(words) and not words[after].isdecimal():  # an override, and no port
        words[after - 1] = "--viewer=8080"
    args, unknown = parser.parse_known_args(words)
    if args.viewer is not None and not args.train:
        parser.error("--viewer shows a scene while it trains: it needs --train")
    return args, args.overrides + unknown


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    It is 0, 2 for what the user can mend, 1 for NaN or infinity half way, 130 after Ctrl-C, 143 after
    SIGTERM. `--verbose` shows where an error comes from.
    """
    args, overrides = parse_args(argv)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", args.gpu)  # before torch is imported
    try:
        if not GPUS.fullmatch(args.gpu):
            raise UserError(f"--gpu: expected numbers such as 0 or 1,2, got {args.gpu!r}")
        described = find_host()
        if "LOCAL_RANK" not in os.environ:  # the first process starts those of further GPUs
            print(f"host: {described}", flush=True)
        return _launch(args, overrides, described)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except UserError as error:
        if args.verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return error.status


def _launch(args: argparse.Namespace, overrides: list[str], described: str) -> int:
    if args.typecheck:
        for package in CHECKED:
            check_types_of(package)
    threestudio = import_host(described)
    if args.verbose:
        logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG)
    import torch

    from launcher.check import check, check_export
    from launcher.closing import papers
    from launcher.config import read_plain
    from launcher.processes import in_one_folder
    from launcher.resume import check_resumed, in_own_folder, require_trained
    from launcher.run import run

    import_extensions()
    settings = read_plain(args.config, overrides, n_gpus=max(1, torch.cuda.device_count()))
    if args.train:
        settings = in_own_folder(settings, overrides)
    settings = in_one_folder(settings)
    check(settings, threestudio)
    if args.export:
        check_export(settings, threestudio)
    if args.validate or args.test or args.export:
        require_trained(settings, "validate" if args.validate else "test" if args.test else "export")
    checkpoint = check_resumed(settings, args.changed)
    if args.citations:
        print("\n\n".join(paper.bibtex for paper in papers(settings, threestudio)))
        return 0
    with user_errors():
        return run(args, overrides, settings, threestudio, checkpoint)


if __name__ == "__main__":
    sys.exit(main())
