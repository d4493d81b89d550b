"""Experiment configuration: YAML and `key=value` overrides, as dataclasses; the
launcher checks them.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import threestudio
from omegaconf import DictConfig, ListConfig, OmegaConf


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line and names the
    key.
    """


def C_max(value: Any) -> float:
    """The largest value that a scheduled scalar takes (see
    `threestudio.utils.misc.C`).
    """
    return max(v for _, v in schedule_knots(value))


def schedule_knots(value: Any) -> list[tuple[int | float, float]]:
    """The `(step, value)` knots of a scheduled scalar.

    Args:
        value: A number; `[v0, v1, end]`; `[start, v0, v1, end]`; or more pairs
            `v, step` behind those four. Integer steps are optimiser steps, float steps
            are epochs.

    Raises:
        ConfigError: The value has another form, or its steps decrease.

    Example:
        >>> schedule_knots([10, 1.0, 0.5, 20, 0.1, 50])
        [(10, 1.0), (20, 0.5), (50, 0.1)]
    """
    if _is_number(value):
        return [(0, value)]
    numbers = list(value) if isinstance(value, (list, tuple, ListConfig)) else []
    if len(numbers) == 3:
        numbers = [0, *numbers]
    if len(numbers) < 4 or len(numbers) % 2 or not all(map(_is_number, numbers)):
        raise ConfigError(
            f"malformed scheduled scalar {value!r}: expected a number, [v0, v1, end_step] or "
            "[start_step, v0, v1, end_step, v2, step2, ...]"
        )
    knots = [(numbers[0], numbers[1]), *zip(numbers[3::2], numbers[2::2], strict=True)]
    if any(a > b for (a, _), (b, _) in pairwise(knots)):
        raise ConfigError(f"malformed scheduled scalar {value!r}: its steps decrease")
    return knots


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_RESOLVERS = {
    "calc_exp_lr_decay_rate": lambda factor, n: factor ** (1.0 / n),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "idiv": lambda a, b: a // b,
    "basename": os.path.basename,
    "rmspace": lambda s, sub: s.replace(" ", sub),
    "tuple2": lambda s: OmegaConf.create([float(s), float(s)]),  # OmegaConf 2.3 resolves no plain lists
    "gt0": lambda s: s > 0,
    "not": lambda s: not s,
    "cmaxgt0": lambda s: C_max(s) > 0,
    "cmaxgt0orcmaxgt0": lambda a, b: C_max(a) > 0 or C_max(b) > 0,
}
with warnings.catch_warnings():
    # OmegaConf before 2.4 replaces by this name only; the present one knows it too, but complains
    warnings.simplefilter("ignore")
    for _name, _resolver in _RESOLVERS.items():
        OmegaConf.register_new_resolver(_name, _resolver, replace=True)


@dataclass
class ExperimentConfig:
    """One experiment; a run's folder is `exp_root_dir/name/tag@timestamp`. Nothing is
    created here.
    """

    name: str = "default"
    description: str = ""
    tag: str = ""
    seed: int = 0
    use_timestamp: bool = True
    timestamp: str | None = None
    exp_root_dir: str = "outputs"

    # derived in __post_init__, not to be set by hand
    exp_dir: str = "outputs/default"
    trial_name: str = "exp"
    trial_dir: str = "outputs/default/exp"
    n_gpus: int = 1

    resume: str | None = None

    data_type: str = ""
    data: dict = field(default_factory=dict)

    system_type: str = ""
    system: dict = field(default_factory=dict)

    trainer: dict = field(default_factory=dict)  # arguments of pytorch_lightning.Trainer
    checkpoint: dict = field(default_factory=dict)  # arguments of pytorch_lightning's ModelCheckpoint

    def __post_init__(self) -> None:
        if not self.tag and not self.use_timestamp:
            raise ValueError("either tag is specified or use_timestamp is True")
        if self.timestamp is None:  # a saved config brings its own, so that a resumed run stays in its folder
            self.timestamp = self._new_timestamp()
        self.trial_name = self.tag + self.timestamp
        self.exp_dir = os.path.join(self.exp_root_dir, self.name)
        self.trial_dir = os.path.join(self.exp_dir, self.trial_name)

    def _new_timestamp(self) -> str:
        if not self.use_timestamp:
            return ""
        if self.n_gpus > 1:  # every process would find its own time, and its own folder
            threestudio.warn("timestamps are disabled on several GPUs: make sure that the tag is unique")
            return ""
        return datetime.now().strftime("@%Y%m%d-%H%M%S")


def load_config(*yamls: str, cli_args: list | None = None, from_string: bool = False, **kwargs: Any) -> Any:
    """Merge YAML files or strings, then `key=value` arguments, then keywords, to an
    `ExperimentConfig`.
    """
    files = [OmegaConf.create(text) if from_string else OmegaConf.load(text) for text in yamls]
    cfg = OmegaConf.merge(*files, OmegaConf.from_cli(cli_args or []), kwargs)
    OmegaConf.resolve(cfg)
    return parse_structured(ExperimentConfig, cfg)


def parse_structured(fields: Any, cfg: Mapping | DictConfig | None = None) -> Any:
    """`cfg` as an instance of the dataclass `fields`, wrapped so that types stay
    checked.
    """
    # blocks stay as they are: what reads them next resolves them
    settings = {key: config_to_primitive(value, resolve=False) for key, value in (cfg or {}).items()}
    return OmegaConf.structured(fields(**settings))


def config_to_primitive(config: Any, resolve: bool = True) -> Any:
    """A config node as plain dicts and lists; what is no config node is returned as it
    is.
    """
    return OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config


def dump_config(path: str, config: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        OmegaConf.save(config=config, f=file)
