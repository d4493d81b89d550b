"""The commands of `python -m msd_lab`: their options, and how each begins and ends.

Nothing heavy is imported until a command's options are parsed.
"""

import argparse
import ast
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from launcher.host import ROOT
from launcher.script import Parser, in_one_line, require_folder, require_writable, whole, with_host

Options = Mapping[str, Mapping[str, Any]]
"""Arguments of `ArgumentParser.add_argument` by the option's name."""
MOST_SEED = 2**32 - 1 - 10_000  # NumPy's largest, less the most seeds
POSITIONAL = ("dir", "overrides", "pipelines")
NUMBER, SEED, FRACTION = {"type": whole()}, {"type": whole(0, MOST_SEED)}, {"type": float}

SHARED: Options = {
    "config": {"required": True, "help": "the experiment's YAML file"},
    "configs": {"nargs": "+", "required": True, "metavar": "CONFIG"},
    "prompts": {
        "nargs": "+",
        "required": True,
        "help": "prompts, or lists of them: .txt with one a line, .json, .jsonl",
    },
    "seeds": {**NUMBER, "default": 3, "help": "number of seeds, counted from the first"},
    "first-seed": {**SEED, "default": 0},
    "particles": {**NUMBER, "default": 4, "help": "images a run"},
    "budget": {
        "nargs": "+",
        "default": ["steps=100"],
        "metavar": "KIND=N",
        "help": "steps, nfe, flop, seconds; one table each",
    },
    # a text, which argparse turns into a number, so that a given --jobs 2 excludes --ray as well
    "jobs": {**NUMBER, "default": "2", "help": "local processes"},
    "ray": {"metavar": "ADDRESS", "help": "a Ray cluster that shares the files; `local` starts one"},
    "features": {
        "nargs": "+",
        "default": ["judge", "second-judge"],
        "metavar": "NAME[=WEIGHTS]",
        "help": "judge, second-judge, probe, inception, clip, lpips; the first gives the curves",
    },
    "frames": {**NUMBER, "default": 8, "help": "points of the curves"},
    "reference-particles": {**NUMBER, "default": 16, "help": "reference images a prompt"},
    "scale": {**FRACTION, "default": 7.5, "help": "guidance of the DDIM images; 1 is none"},
    "steps": {**NUMBER, "default": 50, "help": "steps of the DDIM images"},
    "quick": {"action": "store_true", "help": "a first look: three prompts, one seed, the first budget only"},
    "title": {"default": "Comparison", "help": "of the report"},
    "json": {"type": Path, "metavar": "FILE", "help": "also write the figures here"},
    "out": {"type": Path, "required": True},
    "overrides": {"nargs": "*", "metavar": "key=value", "help": "settings that replace the config's"},
}
"""The options that several commands have."""


def options(*names: str, **own: Mapping[str, Any]) -> Options:
    """Choose a command's options.

    Args:
        *names: Of `SHARED`.
        **own: Options of the command alone, and changes of shared ones, with underscores for hyphens.
    """
    chosen = {name: SHARED[name] for name in names}
    changes = {name.replace("_", "-"): settings for name, settings in own.items()}
    return chosen | {name: {**chosen.get(name, {}), **settings} for name, settings in changes.items()}


@dataclass(frozen=True)
class Command:
    """A command of `python -m msd_lab`.

    Attributes:
        module: Its docstring is the help, and `run(args)` does the work; without options, `main(argv)`.
        options: Its options; None for a module that parses them itself.
        host: Whether threestudio, and the extensions, are imported first.
        passes: Whether options that it does not know are kept, as `args.others`.
    """

    module: str
    options: Options | None = None
    host: bool = True
    passes: bool = False

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command line.

        Returns:
            The exit status: 0, 1 if a run failed, 2 for what the user can mend, 130 after Ctrl-C.
        """
        if self.options is None:
            return importlib.import_module(self.module).main(argv)
        args = self.parse(argv)

        def work() -> int:
            if hasattr(args, "out"):
                require_folder(args.out)
            require_writable("--json", getattr(args, "json", None))
            return importlib.import_module(self.module).run(args)

        return with_host(work) if self.host else in_one_line(work)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        source = Path(find_spec(self.module).origin).read_text(encoding="utf-8")
        parser = Parser(ast.get_docstring(ast.parse(source)))
        either = parser.add_mutually_exclusive_group() if "ray" in self.options else parser
        for name, settings in self.options.items():
            group = either if name in ("jobs", "ray") else parser
            group.add_argument(name if name in POSITIONAL else f"--{name}", **settings)
        if not self.passes:
            return parser.parse_intermixed_args(argv)
        args, args.others = parser.parse_known_args(argv)
        return args


COMPARED = ("configs", "prompts", "seeds", "jobs", "out")
SAMPLED = ("particles", "reference-particles", "budget", "scale", "steps", "features")
COMMANDS: Mapping[str, Command] = {
    "compare": Command(
        "msd_lab.compare.image",
        options(*COMPARED, *SAMPLED, "first-seed", "ray", "frames", "quick", "title"),
    ),
    "scenes": Command(
        "msd_lab.compare.scene",
        options(
            *COMPARED,
            share={
                **FRACTION,
                "default": 1.0,
                "help": "part of the configs' own steps",
            },
            results={"type": Path, "help": "folder with a file of figures a run, which are not made again"},
        ),
    ),
    "pairs": Command(
        "msd_lab.compare.pairs",
        options(
            *("particles", "steps", "jobs", "json", "overrides"),
            config={"default": str(ROOT / "configs" / "msd-tiny.yaml")},
            max_steps={"type": whole(1, 10**6), "help": "optimiser steps; the config's by default"},
            scale={**FRACTION, "default": 3.0, "help": "guidance of the DDIM samples"},
            every={**NUMBER, "default": 1, "help": "take every n-th pair only, for a first look"},
            seed={**SEED, "default": 0},
            out={"type": Path, "default": Path("outputs/pairs")},
        ),
    ),
    "variance": Command(
        "msd_lab.compare.variance",
        options(
            *COMPARED,
            particles={**NUMBER, "default": 4, "help": "renders of a prompt and seed"},
            draws={**NUMBER, "default": 32, "help": "of every gradient at every render"},
        ),
    ),
    "ablate": Command(
        "msd_lab.compare.ablate",
        options(
            *("prompts", "out"),
            config={
                "nargs": "+",
                "required": True,
                "help": "what every variant departs from; several for a search",
            },
            only={"nargs": "+", "metavar": "GROUP", "help": "some groups; all by default"},
            search={**NUMBER, "metavar": "N", "help": "instead: N trials of every config"},
            search_prompts={"nargs": "+", "default": [], "help": "prompts of the search, none of --prompts"},
        ),
        passes=True,
    ),
    "table4": Command(
        "msd_lab.compare.table4",
        options(
            *SAMPLED,
            *("seeds", "jobs", "ray"),
            prompts={
                "nargs": "+",
                "default": [str(ROOT / "custom/threestudio_msd/assets/prompts.txt")],
                "help": "prompts, or lists of them: .txt with one a line, .json, .jsonl",
            },
            seeds={"default": 1},
            budget={"nargs": 1, "default": ["steps=400"]},
            features={"default": ["inception", "clip"]},
            jobs={"default": 1, "help": "local processes, which share one GPU"},
            model={"help": "hub id or folder in the place of the configs' own"},
            dry_run={"action": "store_true", "help": "on random tiny models, two optimiser steps"},
            out={"type": Path, "default": Path("outputs/table4")},
        ),
    ),
    "evaluate": Command(
        "msd_lab.evaluate",
        options(
            "json",
            dir={
                "type": Path,
                "nargs": "+",
                "metavar": "DIR",
                "help": "finished runs or samples, at any depth, or pictures",
            },
            reference={"type": Path, "help": "what to compare with; none: figures that need none"},
            prompt={"help": "what the images of DIR should show, if not what their runs were asked for"},
            features={**SHARED["features"], "default": ["judge"]},
            three_d={
                "action": "store_true",
                "help": "measure the scenes of text-to-3D runs, from 40 cameras",
            },
        ),
    ),
    "sample": Command(
        "msd_lab.sample",
        options(
            *("config", "prompts", "first-seed", "particles", "steps", "scale", "out", "overrides"),
            seeds={**NUMBER, "default": 1, "help": "number of seeds, counted from --first-seed"},
            solver={"choices": ("ddim", "heun", "dpmpp-2m"), "default": "ddim"},
        ),
    ),
    "train": Command(
        "msd_lab.training.command",
        options(
            "out",
            stage={
                "choices": ("data", "judges", "vae", "unet", "sheet", "probe", "sdedit", "all"),
                "default": "all",
                "help": "one stage, or all but the last two, which need the extra `probe`",
            },
            seed={**SEED, "default": 0},
            out={"required": False, "default": ROOT / "custom" / "threestudio_msd" / "assets"},
            cache={
                "type": Path,
                "default": Path(".cache/tinyworld"),
                "help": "folder of renders and checkpoints",
            },
            quick={"action": "store_true", "help": "a smoke run of seconds; needs its own --out"},
        ),
        host=False,
    ),
    "conformance": Command(
        "msd_lab.bench.conformance",
        options(pipelines={"nargs": "*", "metavar": "CLASS", "help": "pipeline classes; all by default"}),
        host=False,
    ),
    "instruments": Command("msd_lab.measure.instruments", {}, host=False),
    "toy": Command("msd_lab.toy.commands"),
    "pictures": Command("msd_lab.pictures.__main__"),
    "bench": Command("msd_lab.bench.command"),
    "estimate": Command("msd_lab.bench.estimate"),
    "check-gpu": Command("msd_lab.bench.check"),
}


def alias(program: str, name: str) -> Callable[[Sequence[str] | None], int]:
    """The command behind a program of `scripts/`, which runs it if that is what Python was started with.

    Args:
        program: The program's `__name__`.
        name: The command.
    """
    if program == "__main__":
        sys.exit(COMMANDS[name]())
    return COMMANDS[name]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `COMMAND ARGUMENTS...`; returns the command's exit status."""
    parser = Parser(f"Commands: {', '.join(COMMANDS)}.", prog="python -m msd_lab")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see COMMAND --help")
    words = sys.argv[1:] if argv is None else list(argv)
    name = parser.parse_args(words[:1]).command
    sys.argv[0] = f"python -m msd_lab {name}"  # what --help calls the program
    return COMMANDS[name](words[1:])
