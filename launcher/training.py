"""The settings of Lightning's trainer and checkpoints, and of torch's optimisers and schedulers."""

import contextlib
import dataclasses
import importlib.util
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

import torch
from threestudio_msd.errors import UserError, did_you_mean, first_line
from threestudio_msd.fields import FieldError, check_fields, choice, listed, number, scheduled
from torch import nn
from torch.optim import lr_scheduler

# what the launcher itself sets
OWN_TRAINER = (
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "barebones",
    "profiler",
    "model_registry",
)
OWN_CHECKPOINT = ("dirpath", "train_time_interval", "enable_version_counter")
THREESTUDIOS_OWN = {"Adan": "threestudio.systems.optimizers", "FusedAdam": "apex"}  # optimisers not of torch
SEQUENCES = ("SequentialLR", "Sequential", "ChainedScheduler")  # schedulers that hold others

PRECISIONS = (32, 16, "32", "16", "bf16", "32-true", "16-mixed", "bf16-mixed")
TRAINER = {
    "max_steps": number(least=-1),
    "max_epochs": number(least=-1),
    "min_epochs": number(least=0),
    "min_steps": number(least=0),
    "log_every_n_steps": number(least=0),
    "num_sanity_val_steps": number(least=-1),
    "check_val_every_n_epoch": number(least=1),
    "accumulate_grad_batches": number(least=1),
    "gradient_clip_val": number(least=0),
    "gradient_clip_algorithm": choice(None, ("norm", "value")),
    "limit_val_batches": number(least=0),
    "limit_test_batches": number(least=0),
    "limit_predict_batches": number(least=0),
    "num_nodes": number(least=1),
    "reload_dataloaders_every_n_epochs": number(least=0),
}
CHECKPOINT = {
    "every_n_train_steps": number(least=0),
    "every_n_epochs": number(least=0),
    "save_top_k": number(least=-1),
    "mode": choice("min", ("min", "max")),
}
OPTIMIZER = {
    name: (float, number(**bounds))
    for name, bounds in {
        "lr": {"least": 0},
        "eps": {"least": 0},
        "weight_decay": {"least": 0},
        "momentum": {"least": 0},
        "dampening": {},
        "lr_decay": {"least": 0},
        "rho": {"least": 0, "most": 1},
        "alpha": {"least": 0},
        "momentum_decay": {"least": 0},
        "lambd": {"least": 0},
    }.items()
}
SCHEDULER = {
    name: (kind, number(**bounds))
    for name, (kind, bounds) in {
        "gamma": (float, {"above": 0}),
        "start_factor": (float, {"above": 0, "most": 1}),
        "end_factor": (float, {"least": 0, "most": 1}),
        "factor": (float, {"least": 0, "most": 1}),
        "total_iters": (int, {"least": 1}),
        "step_size": (int, {"least": 1}),
        "T_max": (int, {"least": 1}),
        "T_0": (int, {"least": 1}),
        "T_mult": (int, {"least": 1}),
        "eta_min": (float, {"least": 0}),
        "power": (float, {"least": 0}),
        "last_epoch": (int, {"least": -1, "most": -1}),
    }.items()
}


def check_training(plain: Mapping[str, Any]) -> None:
    """Check the blocks `trainer`, `checkpoint`, `system.optimizer`, `system.scheduler` and `system.loss`.

    Raises:
        UserError: What is wrong, with the full key.
    """
    _check_trainer(plain.get("trainer", {}))
    _check_checkpoint(plain.get("checkpoint", {}))
    settings = plain.get("system", {})
    check_optimizer("system.optimizer", settings.get("optimizer"))
    if settings.get("scheduler") is not None:
        check_scheduler("system.scheduler", settings["scheduler"])
    _check_losses("system.loss", settings.get("loss", {}))


def _check_trainer(settings: Any) -> None:
    from pytorch_lightning import Trainer

    _require_mapping("trainer", settings)
    _refuse("trainer", settings, OWN_TRAINER)
    _check_names("trainer", settings, _parameters(Trainer))
    _check_arguments("trainer", Trainer, settings, TRAINER)
    if settings.get("precision", 32) not in PRECISIONS or isinstance(settings.get("precision"), bool):
        raise UserError(
            f"trainer.precision: expected one of {listed(PRECISIONS)}, got {settings['precision']!r}: the images' and "
            "networks' own weights stay in 32 bits"
        )
    if settings.get("overfit_batches"):
        raise UserError("trainer.overfit_batches: expected 0, data without end has nothing to overfit on")
    for name in ("limit_train_batches", "val_check_interval"):
        _require_batches(f"trainer.{name}", settings.get(name, 1.0))
    _check_devices(settings.get("devices"))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    _try("trainer", Trainer, {**settings, **quiet})


def _require_batches(key: str, value: Any) -> None:
    """Data without end is counted in batches; 1.0, all of it, is Lightning's word for no limit."""
    whole = value is None or (isinstance(value, float) and value == 1)
    if not whole and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UserError(f"{key}: expected an integer of at least 1, or 1.0, got {value!r}")


def _check_devices(devices: Any) -> None:
    count = len(devices) if isinstance(devices, list) else devices
    if str(count).isdigit() and not isinstance(count, bool):
        there = torch.cuda.device_count() or os.cpu_count() or 1
        if not 1 <= int(count) <= there:
            raise UserError(
                f"trainer.devices: expected 1 to {there}, which this machine has, got {devices!r}"
            )


def _check_checkpoint(settings: Any) -> None:
    from pytorch_lightning.callbacks import ModelCheckpoint

    _require_mapping("checkpoint", settings)
    _refuse("checkpoint", settings, OWN_CHECKPOINT)
    _check_names("checkpoint", settings, _parameters(ModelCheckpoint))
    _check_arguments("checkpoint", ModelCheckpoint, settings, CHECKPOINT)
    filename = settings.get("filename") or ""
    if os.path.basename(filename) != filename or filename in (".", ".."):
        raise UserError(f"checkpoint.filename: expected a file's name without a folder, got {filename!r}")
    _try("checkpoint", ModelCheckpoint, settings)


def check_optimizer(key: str, settings: Any) -> None:
    """Check an optimiser: its name, arguments and the arguments of each of its groups.

    Raises:
        UserError: What is wrong.
    """
    _require_mapping(key, settings)
    _check_names(key, settings, ("name", "args", "params"))
    cls = _class(f"{key}.name", settings.get("name"), torch.optim, torch.optim.Optimizer, THREESTUDIOS_OWN)
    args = settings.get("args", {})
    _require_mapping(f"{key}.args", args)
    if cls is None:
        return
    _check_optimizer_arguments(f"{key}.args", cls, args)
    groups = settings.get("params", {})
    _require_mapping(f"{key}.params", groups)
    if "params" in settings and not groups:
        raise UserError(f"{key}.params: expected at least one module to optimise, such as geometry")
    for name, group in groups.items():
        _require_mapping(f"{key}.params.{name}", group)
        _check_optimizer_arguments(f"{key}.params.{name}", cls, group, args)


def _check_optimizer_arguments(
    key: str, cls: type, args: Mapping[str, Any], outer: Mapping[str, Any] | None = None
) -> None:
    _check_names(key, args, [name for name in _parameters(cls) if name != "params"])
    _check_arguments(key, cls, args, OPTIMIZER)
    betas = args.get("betas", args.get("etas", [0.5, 0.5]))
    if (
        not isinstance(betas, list)
        or len(betas) != len([n for n in betas if isinstance(n, float | int)])
        or len(betas) < 2
    ):
        raise UserError(f"{key}.betas: expected a list of numbers in [0, 1), got {betas!r}")
    _try(key, lambda **given: cls([nn.Parameter(torch.zeros(1))], **{**(outer or {}), **given}), args)


def check_scheduler(key: str, settings: Any) -> Any:
    """Check a scheduler and those that it holds; return how to make one for an optimiser.

    Raises:
        UserError: What is wrong.
    """
    _require_mapping(key, settings)
    _check_names(key, settings, ("name", "interval", "args", "schedulers", "milestones"))
    if settings.get("interval", "epoch") not in ("epoch", "step"):
        raise UserError(f"{key}.interval: expected epoch or step, got {settings['interval']!r}")
    name = settings.get("name")
    if name in SEQUENCES:
        return _check_sequence(key, name, settings)
    cls = _class(f"{key}.name", name, lr_scheduler, lr_scheduler.LRScheduler, {"Sequential": ""})
    if name == "ReduceLROnPlateau":
        raise UserError(
            f"{key}.name: ReduceLROnPlateau waits for a monitored metric, which threestudio does not have"
        )
    args = settings.get("args", {})
    _require_mapping(f"{key}.args", args)
    _check_names(f"{key}.args", args, [name for name in _parameters(cls) if name != "optimizer"])
    for parameter in _required(cls):
        if parameter not in args and parameter != "optimizer":
            raise UserError(f"{key}.args.{parameter}: no value is given, and {name} needs one")
    _check_arguments(f"{key}.args", cls, args, SCHEDULER)

    def make(**given: Any) -> Any:
        return cls(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9), **given)

    _try(f"{key}.args", make, args)
    return None


def _check_sequence(key: str, name: str, settings: Mapping[str, Any]) -> None:
    parts = settings.get("schedulers")
    if not isinstance(parts, list) or not parts:
        raise UserError(f"{key}.schedulers: expected a list of schedulers, got {parts!r}")
    for i, part in enumerate(parts):
        check_scheduler(f"{key}.schedulers[{i}]", part)
    if name == "ChainedScheduler":
        return
    milestones = settings.get("milestones")
    wanted = len(parts) - 1
    steps = (
        [n for n in milestones if isinstance(n, int) and not isinstance(n, bool)]
        if isinstance(milestones, list)
        else []
    )
    if milestones != steps or len(steps) != wanted or steps != sorted(steps) or min(steps, default=1) < 1:
        raise UserError(
            f"{key}.milestones: expected {wanted} ascending integers, one between each two schedulers, got {milestones!r}"
        )


def _check_losses(key: str, losses: Any) -> None:
    _require_mapping(key, losses)
    for name, value in losses.items():
        _check_field(key, name, value, Any, scheduled(0.0))


def _class(key: str, name: Any, module: Any, base: type, others: Mapping[str, str]) -> type | None:
    """The class of a module by name; None where it is one of `others`, which come from packages of their own."""
    known = [
        n
        for n in dir(module)
        if isinstance(c := getattr(module, n), type) and issubclass(c, base) and c is not base
    ]
    if name in known:
        return getattr(module, name)
    if name in others and _is_there(others[name]):
        return None
    if name in others:
        raise UserError(
            f"{key}: {name} needs {others[name]}, which is not there; {module.__name__} has {listed(known)}"
        )
    near = did_you_mean(name, known) or f"; it has {listed(known)}"
    raise UserError(f"{key}: {module.__name__} has no {name!r}{near}")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _check_arguments(
    key: str, function: Callable, settings: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Check values against the annotations of a function's parameters, and what is `known` of their ranges."""
    hints = _hints(function)
    for name, value in settings.items():
        rule = known.get(name, dataclasses.field(default=None))
        hint, rule = rule if isinstance(rule, tuple) else (hints.get(name, Any), rule)
        _check_field(key, name, value, hint, rule)


def _check_field(key: str, name: str, value: Any, hint: Any, rule: dataclasses.Field) -> None:
    try:
        check_fields(dataclasses.make_dataclass("Settings", [(name, hint, rule)]), {name: value})
    except FieldError as error:
        raise UserError(f"{key}.{error}") from error


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return get_type_hints(function.__init__ if isinstance(function, type) else function)
    except NameError:  # annotations that only a type checker sees
        return {}


def _try(key: str, make: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Make the object that settings describe, and name the setting that it refuses.

    Raises:
        UserError: It refuses one: the setting without which its complaint is another one, or none.
    """

    def complaint(given: Mapping[str, Any]) -> str | None:
        try:
            with _quiet():
                make(**given)
        except Exception as error:  # whatever a library raises for what it was given
            return first_line(error)
        return None

    found = complaint(settings)
    if found is None:
        return
    others = {name: {k: v for k, v in settings.items() if k != name} for name in settings}
    culprit = next((name for name, rest in others.items() if complaint(rest) != found), None)
    where = key if culprit is None else f"{key}.{culprit}"
    given = "" if culprit is None else f" (got {settings[culprit]!r})"
    raise UserError(f"{where}: {found}{given}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that a trial logs or warns of is shown."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _parameters(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def _required(function: Callable) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]


def _require_mapping(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        shown = "null" if value is None else repr(value)
        raise UserError(f"{key}: expected a mapping of settings, got {shown}")


def _refuse(key: str, settings: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name in settings:
            raise UserError(f"{key}.{name}: cannot be set here: the launcher has its own")


def _check_names(key: str, settings: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
    for name in settings:
        if name not in known:
            raise UserError(
                f"{key}.{name}: unknown key{did_you_mean(name, known) or f'; known: {listed(known)}'}"
            )
