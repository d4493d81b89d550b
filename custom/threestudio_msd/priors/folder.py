"""A pipeline's folder in diffusers' layout: what it must hold, checked before anything
is loaded.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from safetensors import safe_open
from torch import nn

from ..errors import first_line, install
from ..fields import FieldError, listed
from .errors import PriorError, named
from .family import FAMILIES, Family, family_of
from .sources import INDEX, Source, find, require_name

WEIGHTS = re.compile(r"[\w-]+?(\.(?P<variant>[\w-]+?))?(-\d+-of-\d+)?\.safetensors")
LFS_POINTER = b"version https://git-lfs"
CONFIG = "config.json"
HALVES = ("fp16", "bf16")
"""Variants of weights in half precision."""
T5 = "T5EncoderModel"
"""A text encoder of up to 5 billion parameters, which is loaded in bfloat16."""
TEXT_ALONE = "0.33"
"""The first diffusers whose pipelines load without their other parts."""


@dataclass(frozen=True)
class ModelFolder:
    """The files of one half of a pipeline: text encoders and tokenizers, or everything
    else.

    Attributes:
        name: The model as the user wrote it, with its revision, for messages.
        source: All files of the model.
        index: Its `model_index.json`: library and class of every part.
        family: The family of the pipeline's class.
        small: Configurations and tokenizers of this half.
        weights: Files with weights of this half's parts, and their variant, such as
            `fp16` or None.
    """

    name: str
    source: Source
    index: Mapping[str, Any]
    family: Family
    small: list[str]
    weights: Mapping[str, tuple[list[str], str | None]]

    @property
    def weight_files(self) -> list[str]:
        return [name for names, _ in self.weights.values() for name in names]

    @property
    def bytes(self) -> int | None:
        """Size of the weights in bytes; None if the hub does not say."""
        sizes = [self.source.sizes[name] for name in self.weight_files]
        return None if None in sizes else sum(filter(None, sizes))

    @property
    def is_here(self) -> bool:
        """Whether the weights are on this machine, so that nothing is downloaded."""
        return self.source.is_here(self.weight_files)

    @cached_property
    def path(self) -> Path:
        """The folder on this machine; when first read, this half's files are downloaded
        and checked.

        Raises:
            PriorError: The download failed, or a file is damaged.
        """
        with named(self.name):
            folder = self.source.fetch([INDEX, *self.small, *self.weight_files])
            for name in self.small:
                if name.endswith(CONFIG):
                    read_json(folder, name)
            for name in self.weight_files:
                check_weights(folder, name)
        return folder

    def load(self, part: str, cls: Any, dtype: torch.dtype) -> nn.Module:
        """Load a part with weights as a module of its class.

        Args:
            part: The part's folder, such as `unet`.
            cls: The class of diffusers or transformers.
            dtype: Precision of the weights.

        Raises:
            PriorError: Its files are damaged, or are not of this class.
        """
        with blamed(f"{self.name}: {part}/"):
            return load_module(cls, self.path / part, dtype, self.weights[part][1])

    def scheduler(self) -> Any:
        """Load the scheduler, an object of diffusers that holds the noise levels.

        Raises:
            PriorError: Its file is damaged or its class unknown.
        """
        with blamed(f"{self.name}: scheduler/"):
            cls = self.family.diffusers(self.class_of("scheduler"))
            config = read_json(self.path / "scheduler", cls.config_name)
            # not `from_pretrained`, which imports every scheduler that there is, and scipy with them
            known = inspect.signature(cls).parameters.keys() - set(config.get("_use_default_values", ()))
            scheduler = cls(**{name: value for name, value in config.items() if name in known})
            # what the network was trained on holds, also where the class has no such settings
            if "prediction_type" in config:
                scheduler.register_to_config(prediction_type=config["prediction_type"])
            betas = getattr(scheduler, "betas", None)
            if config.get("rescale_betas_zero_snr") and betas is not None and betas[-1] < 1:
                from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

                scheduler.betas = rescale_zero_terminal_snr(betas)
            return scheduler

    def class_of(self, part: str) -> str:
        """Return the name of the class of a part, such as `unet`, as `model_index.json`
        has it.

        Raises:
            PriorError: `model_index.json` does not name it.
        """
        match self.index.get(part):
            case [str(), str(name)]:
                return name
        raise PriorError(f'{INDEX}: expected "{part}": [library, class], got {self.index.get(part)!r}')

    def known_class(self, part: str, name: str) -> Any:
        """Import the class that the family has for a part, and check that the
        pipeline's part is of it.

        Args:
            part: The part's folder, such as `unet`.
            name: The class's name in diffusers.

        Raises:
            PriorError: The pipeline has another class there, or the installed diffusers
                lacks the class.
        """
        if (theirs := self.class_of(part)) != name:
            expected = f"expected the {name} of {self.family.name}"
            raise PriorError(f"{self.name}: {part}/: {expected}, got {theirs}")
        return self.family.diffusers(name)

    def text_pipeline(self) -> Any:
        """Load the pipeline with its text encoders and tokenizers only; its other parts
        are None.

        Raises:
            PriorError: Their files are damaged, diffusers is too old to load them
                alone, or a package is missing.
        """
        # take seconds to import
        import diffusers
        import transformers
        from diffusers.utils import logging as diffusers_logging

        if Version(diffusers.__version__) < Version(TEXT_ALONE):
            raise PriorError(
                f"diffusers {diffusers.__version__} loads no text encoders alone: "
                f"pip install 'diffusers>={TEXT_ALONE}', or take threestudio's own prompt processors"
            )
        transformers.utils.logging.disable_progress_bar()
        diffusers_logging.disable_progress_bar()
        # diffusers warns of the parts that are left out here, and loads the tokenizers itself
        logging.getLogger("diffusers.pipelines.pipeline_utils").setLevel(logging.ERROR)
        self._require_sentencepiece()
        kept = text_parts(self.index)[1]
        parts: dict[str, nn.Module | None] = {
            name: None for name, value in self.index.items() if isinstance(value, list) and name not in kept
        }
        for part in self.weights:
            name = self.class_of(part)
            if not hasattr(transformers, name):
                raise PriorError(
                    f"{self.name}: {part}/: transformers {transformers.__version__} has no {name}"
                )
            dtype = torch.bfloat16 if name == T5 else torch.float32
            parts[part] = self.load(part, getattr(transformers, name), dtype)
        with blamed(self.name):
            cls = self.family.diffusers(self.index["_class_name"])
            return cls.from_pretrained(str(self.path), local_files_only=True, **parts)

    @property
    def needs_sentencepiece(self) -> bool:
        """Whether a tokenizer has only sentencepiece's own file, which that package
        must read.
        """
        folders = {name.rpartition("/")[0] for name in self.small if name.endswith("spiece.model")}
        return any(f"{folder}/tokenizer.json" not in self.small for folder in folders)

    def _require_sentencepiece(self) -> None:
        if self.needs_sentencepiece and importlib.util.find_spec("sentencepiece") is None:
            raise PriorError(f"{self.name}: T5's tokenizer needs sentencepiece and protobuf: {install('t5')}")


def open_model(
    model: str,
    revision: str | None = None,
    text: bool = False,
    half: bool = False,
    variant: str | None = None,
) -> ModelFolder:
    """Find a model and list the files of one half of it; only its index is downloaded.

    Args:
        model: Hub id or folder.
        revision: Branch, tag or commit on the hub; None is its default.
        text: True for the half with text encoders and tokenizers, False for network,
            autoencoder and scheduler.
        half: Whether weights in half precision are preferred.
        variant: The only variant of weights that is accepted, such as `fp16`; None for
            any.

    Returns:
        The half's files; none of the weights is loaded.

    Raises:
        PriorError: The model cannot be found or reached, is of no known family, or
            lacks a file.
    """
    name = f"{model}@{revision}" if revision else str(model)
    with named(name):
        source = find(model, revision)
        try:
            index = read_json(source.fetch([INDEX]), INDEX)
            family = family_of(str(index.get("_class_name")))
            with_weights, others = text_parts(index) if text else model_parts(family)
            small = [file for part in (*others, *with_weights) for file in small_files(source.sizes, part)]
            weights = {
                part: weight_files(source, part, half or T5 in str(index.get(part)), variant)
                for part in with_weights
            }
        except PriorError as error:
            raise PriorError(f"{error}{source.note}") from error
    return ModelFolder(name, source, index, family, small, weights)


def check_model(
    block: str,
    model: str,
    revision: str | None = None,
    text: bool = False,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Check a model without asking the hub and without loading weights: its name, and
    the files of a folder.

    The family of a model on the hub is not known yet: an option of any family passes.

    Args:
        block: Section of the config that holds `pretrained_model_name_or_path` and
            `revision`, for messages.
        model: Hub id or folder.
        revision: Branch, tag or commit on the hub; None for a folder.
        text: Whether text encoders and tokenizers are checked, instead of network,
            autoencoder and scheduler.
        options: Keys set under `model_options`.

    Raises:
        PriorError: The name is neither a folder nor of the form owner/name, the folder
            lacks a file or has a damaged one, or has a `revision`. The message begins
            with the key.
        FieldError: The model's family does not take an option; for the hub: no family
            does.
    """
    families: Collection[Family] = FAMILIES.values()
    with named(f"{block}.pretrained_model_name_or_path"):
        folder = require_name(model)
        if folder and revision is None:
            opened = open_model(model, text=text)
            families = [opened.family]
            if opened.path and not text:
                opened.scheduler()
    if options:
        _check_options(block, families, options)
    if folder and revision is not None:
        raise PriorError(f"{block}.revision: expected null, as {model} is a folder, got {revision!r}")


def _check_options(block: str, families: Collection[Family], options: Mapping[str, Any]) -> None:
    def likeness(family: Family) -> float:
        names = [field.name for field in fields(family.options)]
        return max((SequenceMatcher(None, key, name).ratio() for key in options for name in names), default=0)

    errors = []
    for family in sorted(families, key=likeness, reverse=True):
        try:
            family.chosen(options)
            return
        except FieldError as error:
            errors.append(error)
    raise FieldError(f"{block}.{errors[0]}") from errors[0]


def model_parts(family: Family) -> tuple[list[str], list[str]]:
    """Return the names of the parts that a family needs beside text: those with
    weights, and the others.
    """
    return [part for part in (family.backbone[0], family.vae) if part], ["scheduler"]


def text_parts(index: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of a pipeline's text encoders, and those of its tokenizers.

    Args:
        index: The pipeline's `model_index.json`.

    Raises:
        PriorError: It names no text encoder.
    """
    present = [name for name, value in index.items() if isinstance(value, list) and value[0]]
    encoders = [name for name in present if name.startswith("text_encoder")]
    if not encoders:
        raise PriorError(f"{INDEX} names no text encoder")
    return encoders, [name for name in present if name.startswith("tokenizer")]


def small_files(names: Collection[str], part: str) -> list[str]:
    """Return the paths of a part's files other than weights: configuration, vocabulary,
    tokenizer.

    Args:
        names: Paths of all files in the model's folder.
        part: Folder of the part.

    Raises:
        PriorError: There are none.
    """
    suffixes = (".json", ".txt", ".model")
    found = [name for name in names if name.startswith(f"{part}/") and name.endswith(suffixes)]
    if not found:
        raise PriorError(f"has no {part}/ with its configuration")
    return found


def weight_files(
    source: Source, part: str, half: bool = False, variant: str | None = None
) -> tuple[list[str], str | None]:
    """Select one set of a part's weights in safetensors, and name its variant; None is
    the plain one.

    Args:
        source: All files of the model.
        part: Folder of the part.
        half: Whether sets that need no download come first, then those in half
            precision; else the plain set.
        variant: The only variant that is accepted; None for any.

    Returns:
        Paths of the set's files in the model's folder, and the variant.

    Raises:
        PriorError: The part has no weights in safetensors, or none of the variant.
    """
    own = [name for name in source.sizes if name.startswith(f"{part}/")]
    found: dict[str | None, list[str]] = {}
    for name in own:
        if match := WEIGHTS.fullmatch(name.removeprefix(f"{part}/")):
            found.setdefault(match["variant"], []).append(name)
    first = (*HALVES, None) if half else (None, *HALVES)
    known = [one for one in (*first, *sorted(set(filter(None, found)) - {*HALVES})) if one in found]
    if half:
        known.sort(key=lambda one: not source.is_here(found[one]))
    if variant is not None and known:
        if variant not in known:
            there = listed(sorted(one or "null, the plain one" for one in known))
            raise PriorError(f"{part}/ has no weights of variant {variant!r}: set variant to {there}")
        return found[variant], variant
    if known:
        return found[known[0]], known[0]
    if any(name.endswith((".bin", ".pt", ".ckpt")) for name in own):
        raise PriorError(
            f"{part}/ holds pickled weights only, which can run code: only safetensors are read; "
            "load the pipeline once with diffusers and save_pretrained it, or take another revision"
        )
    raise PriorError(f"{part}/ holds no weights: expected a .safetensors file")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a file that holds a JSON mapping.

    Args:
        folder: The model's folder.
        name: Path of the file in it.

    Raises:
        PriorError: The file is missing, is no JSON, or holds no mapping.
    """
    if not (folder / name).is_file():
        raise PriorError(f"has no {name}: expected the folder of a diffusers pipeline")
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise PriorError(f"{name} is no JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise PriorError(f"{name} holds no mapping")
    return content


def check_weights(folder: Path, name: str) -> None:
    """Check that a safetensors file is whole, without reading its tensors.

    Args:
        folder: The model's folder.
        name: Path of the file in it.

    Raises:
        PriorError: The file is empty, cut off, or a pointer of Git LFS.
    """
    with (folder / name).open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise PriorError(f"{name} is a Git LFS pointer, not the weights: run `git lfs pull` there")
    if not start:
        raise PriorError(f"{name} is empty: download it again")
    with blamed(name), safe_open(folder / name, "pt"):
        pass  # opening raises if a tensor's bytes are missing


def load_module(cls: Any, path: Path, dtype: torch.dtype, variant: str | None = None) -> nn.Module:
    """Load a module from the folder that its class wrote.

    Args:
        cls: A class of diffusers or transformers.
        path: The folder.
        dtype: Precision of the weights.
        variant: Variant of the weights' files, such as `fp16`.

    Raises:
        PriorError: The weights lack a tensor. Errors of the library pass unchanged.
    """
    module, report = cls.from_pretrained(
        str(path),
        torch_dtype=dtype,
        variant=variant,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise PriorError(
            f"the weights lack {missing[0]}, and {len(missing) - 1} more that config.json asks for"
        )
    return module


def load_single(model: str, cls: Any, dtype: torch.dtype) -> Any:
    """Load a module that is a model of its own: on the hub, or in a folder with its
    files only.

    Args:
        model: Hub id or folder.
        cls: The expected class of diffusers.
        dtype: Precision of the weights.

    Raises:
        PriorError: The model cannot be found, reached or read, or is of another class.
    """
    with named(model):
        source = find(model, None, CONFIG)
        kind = read_json(source.fetch([CONFIG]), CONFIG).get("_class_name")
        if kind != cls.__name__:
            raise PriorError(f"{CONFIG}: expected an {cls.__name__}, got {kind}")
        folder = source.fetch([CONFIG, *filter(WEIGHTS.fullmatch, source.sizes)])
    with blamed(model):
        return load_module(cls, folder, dtype)


@contextmanager
def blamed(where: str) -> Iterator[None]:
    """Turn any exception raised inside a `with` block into a PriorError whose message
    begins with a file's name.

    Args:
        where: The file.

    Raises:
        PriorError: If the block raises an exception.
    """
    with named(where):
        try:
            yield
        except PriorError:
            raise
        except Exception as error:
            raise PriorError(f"cannot be read ({first_line(error)})") from error
