"""threestudio's own configs with another `system.guidance_type`: what this package's modules take over.

python -m msd_lab.bench.adoption CHECKOUT   # of threestudio
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import threestudio
from omegaconf import OmegaConf
from threestudio.utils.config import parse_structured
from threestudio_msd.errors import UserError
from threestudio_msd.guidance.keys import adopt

from launcher.script import with_host

from ..report.table import Table

HEADING = ("config", "guidance", "scale", "taken by", "warn of the scale", "msd-guidance leaves out")
METHODS = {"msd": "msd-guidance"} | {n: f"msd-{n}-guidance" for n in ("sds", "vsd", "sdi", "csd", "ism")}
ASKED_FOR = {"data": {"image_path": "image.png"}}
"""What the configs leave to the command line, and guidance blocks refer to."""
LENGTH = {"trainer_max_steps": 1000}
"""Beside the config, as in docs/threestudio.md's command."""


def row(path: Path, folder: Path) -> tuple[str, ...]:
    """Give a config's guidance block to every method; a row of the table."""
    system = OmegaConf.merge(OmegaConf.load(path), ASKED_FOR).system
    block = OmegaConf.to_container(system.guidance, resolve=True)
    config = path.relative_to(folder).with_suffix("").as_posix()
    return (config, system.guidance_type, str(block.get("guidance_scale", "none")), *taken_over(block))


def taken_over(block: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the methods that take a guidance block, those that warn of its scale, and
    the keys that `msd-guidance` leaves out.
    """
    taken, warned, left_out = [], [], {}
    for name, registered in METHODS.items():
        cls = threestudio.find(registered)
        try:
            settings, left_out[name] = adopt(cls, block)
            parse_structured(cls.Config, {**settings, **LENGTH})
        except UserError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        taken.append(name)
        warned += [name] * len(list(cls.scale_advice(settings)))
    return ", ".join(taken), ", ".join(warned), ", ".join(left_out.get("msd", []))


def main(checkout: str) -> int:
    folder = Path(checkout) / "configs"
    rows = [row(path, folder) for path in sorted(folder.rglob("*.yaml"))]
    print(Table(HEADING, rows).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(with_host(lambda: main(*sys.argv[1:])))
