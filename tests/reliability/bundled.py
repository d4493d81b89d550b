"""The bundled configs as plain data, with single values replaced."""

import functools
from pathlib import Path
from typing import Any

import threestudio
from omegaconf import OmegaConf

from launcher.checks.config import check
from launcher.config import read_plain
from launcher.resume import check_resumed

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@functools.cache
def settings_of(config: str) -> dict[str, Any]:
    """A bundled config as plain data."""
    return read_plain(str(CONFIGS / f"{config}.yaml"), [])


def changed(settings: Any, key: str, value: Any) -> dict[str, Any]:
    """Settings with one key replaced; what is not on its path is shared."""
    first, _, rest = key.partition(".")
    return {**settings, first: changed(settings.get(first, {}), rest, value) if rest else value}


def check_changed(config: str, key: str, value: Any) -> None:
    """Check a bundled config with one other value, as the launcher does."""
    settings = changed(settings_of(config), key, value)
    check(settings, threestudio)
    check_resumed(settings)


def yaml_value(text: str) -> Any:
    """What a command line's `key=TEXT` gives a key that holds no text."""
    return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
