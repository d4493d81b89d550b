"""A pipeline's folder as diffusers lays it out: what it must hold, checked before anything is loaded."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from safetensors import safe_open
from torch import nn

from ..errors import first_line
from ..fields import FieldError
from .errors import PriorError, named
from .family import FAMILIES, Family, family_of
from .sources import INDEX, Source, find, require_name

WEIGHTS = re.compile(r"[\w-]+?(\.(?P<variant>[\w-]+?))?(-\d+-of-\d+)?\.safetensors")
LFS_POINTER = b"version https://git-lfs"
TEXT = ("text_encoder", "tokenizer")
CONFIG = "config.json"
TEXT_ALONE = "0.33"
"""The first diffusers whose pipelines load without their other parts."""


@dataclass(frozen=True)
class ModelFolder:
    """A pipeline's folder, of which one half, without or with text, is there and looks whole.

    Attributes:
        name: As the user wrote it, with its revision; for messages.
        path: The folder.
        index: Its `model_index.json`: library and class of every part.
        family: What is known of models like it.
        variants: Of the parts with weights: the variant of their files, such as `fp16`, or None.
    """

    name: str
    path: Path
    index: Mapping[str, Any]
    family: Family
    variants: Mapping[str, str | None]

    def load(self, part: str, cls: type, dtype: torch.dtype) -> nn.Module:
        """Load a part with weights.

        Raises:
            PriorError: If its files are damaged, or are not of this class.
        """
        with blamed(f"{self.name}: {part}/"):
            return load_module(cls, self.path / part, dtype, self.variants[part])

    def scheduler(self) -> Any:
        """Load the scheduler.

        Raises:
            PriorError: If its file is damaged or its class unknown.
        """
        with blamed(f"{self.name}: scheduler/"):
            cls = self.family.diffusers(self.class_of("scheduler"))
            return cls.from_pretrained(str(self.path / "scheduler"), local_files_only=True)

    def class_of(self, part: str) -> str:
        """The class of a part.

        Raises:
            PriorError: If `model_index.json` does not say it.
        """
        match self.index.get(part):
            case [str(), str(name)]:
                return name
        raise PriorError(f'{INDEX}: expected "{part}": [library, class], got {self.index.get(part)!r}')

    def _text_encoder(self, part: str) -> nn.Module:
        import transformers

        name = self.class_of(part)
        if not hasattr(transformers, name):
            raise PriorError(f"{self.name}: {part}/: transformers {transformers.__version__} has no {name}")
        return self.load(part, getattr(transformers, name), torch.float32)

    def text_pipeline(self) -> Any:
        """Load the pipeline with text encoders and tokenizers only.

        Raises:
            PriorError: If their files are damaged, or diffusers is too old to load them alone.
        """
        # seconds to import
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
        others = {name: None for name, value in self.index.items() if isinstance(value, list)}
        encoders = {part: self._text_encoder(part) for part in self.variants}
        for name in text_parts(self.index)[1]:
            del others[name]  # the tokenizers, which diffusers loads itself
        # it warns of the parts left out on purpose
        logging.getLogger("diffusers.pipelines.pipeline_utils").setLevel(logging.ERROR)
        with blamed(self.name):
            cls = self.family.diffusers(self.index["_class_name"])
            return cls.from_pretrained(str(self.path), local_files_only=True, **{**others, **encoders})


def load_module(cls: type, path: Path, dtype: torch.dtype, variant: str | None = None) -> nn.Module:
    """A module from the folder that its class wrote.

    Raises:
        PriorError: If the weights lack something.
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


def load_single(model: str, cls: type, dtype: torch.dtype) -> nn.Module:
    """A module that is a model of its own on the hub, or a folder with just its files.

    Raises:
        PriorError: If it cannot be found, reached or read, or is of another class.
    """
    with named(model):
        source = find(model, None, CONFIG)
        kind = read_json(source, CONFIG).get("_class_name")
        if kind != cls.__name__:
            raise PriorError(f"{CONFIG}: expected an {cls.__name__}, got {kind}")
        _get_all(source, [name for name in source.names if WEIGHTS.fullmatch(name)])
    with blamed(model):
        return load_module(cls, source.get(CONFIG).parent, dtype)


def open_model(model: str, revision: str | None = None, text: bool = False) -> ModelFolder:
    """Find a model's folder, and see to it that one half of it is there.

    Args:
        model: Hub id or folder.
        revision: Branch, tag or commit on the hub; None is its default.
        text: Whether the text encoders and tokenizers are wanted, or all else.

    Raises:
        PriorError: If it cannot be found or reached, is of no known family, or lacks something.
    """
    name = f"{model}@{revision}" if revision else str(model)
    with named(name):
        source = find(model, revision)
        try:
            return _open(name, source, text)
        except PriorError as error:
            raise PriorError(f"{error}{source.note}") from error


def check_model(
    block: str,
    model: str,
    revision: str | None = None,
    text: bool = False,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Check what can be seen of a model without the hub and without its weights: its name, a folder's files.

    The family of a model on the hub is not known yet: its options are those that some family takes.

    Args:
        block: Where `pretrained_model_name_or_path` and `revision` stand.
        model: Hub id or folder.
        revision: As for `open_model`.
        text: As for `open_model`.
        options: What is chosen under `model_options`.

    Raises:
        PriorError: If it cannot be a model, or a folder lacks something; the message names the key.
        FieldError: For an option that the family does not take.
    """
    families = tuple(FAMILIES.values())
    with named(f"{block}.pretrained_model_name_or_path"):
        folder = require_name(model)
        if folder and revision is None:
            opened = open_model(model, text=text)
            families = (opened.family,)
            if not text:
                opened.scheduler()
    if options:
        _check_options(block, families, options)
    if folder and revision is not None:
        raise PriorError(f"{block}.revision: expected null, as {model} is a folder, got {revision!r}")


def _check_options(block: str, families: Collection[Family], options: Mapping[str, Any]) -> None:
    errors = []
    for family in sorted(families, key=lambda family: len(fields(family.options)), reverse=True):
        try:
            family.chosen(options)
            return
        except FieldError as error:
            errors.append(error)
    raise FieldError(f"{block}.{errors[0]}") from errors[0]


def _open(name: str, source: Source, text: bool) -> ModelFolder:
    index = read_json(source, INDEX)
    family = family_of(str(index.get("_class_name")))
    weighty, light = text_parts(index) if text else model_parts(family)
    for part in light:
        _get_small(source, part)
    variants = {part: _get_weights(source, part) for part in weighty}
    return ModelFolder(name, source.get(INDEX).parent, index, family, variants)


def model_parts(family: Family) -> tuple[list[str], list[str]]:
    """The parts beside text that a family needs: those with weights, and those without."""
    return [part for part in (family.backbone[0], family.vae) if part], ["scheduler"]


def text_parts(index: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The text encoders that a pipeline has, and the tokenizers.

    Raises:
        PriorError: If it has none.
    """
    present = [name for name, value in index.items() if isinstance(value, list) and value[0]]
    encoders, tokenizers = ([name for name in present if name.startswith(kind)] for kind in TEXT)
    if not encoders:
        raise PriorError(f"{INDEX} names no text encoder")
    return encoders, tokenizers


def read_json(source: Source, name: str) -> dict[str, Any]:
    """A file that holds a JSON mapping.

    Raises:
        PriorError: If it is missing or is something else.
    """
    if name not in source.names:
        raise PriorError(f"has no {name}: expected the folder of a diffusers pipeline")
    try:
        content = json.loads(source.get(name).read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise PriorError(f"{name} is no JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise PriorError(f"{name} holds no mapping")
    return content


def small_files(names: Collection[str], part: str) -> list[str]:
    """A part's files beside weights.

    Raises:
        PriorError: If it has none.
    """
    suffixes = (".json", ".txt", ".model")
    found = [name for name in names if name.startswith(f"{part}/") and name.endswith(suffixes)]
    if not found:
        raise PriorError(f"has no {part}/ with its configuration")
    return found


def weight_files(names: Collection[str], part: str) -> tuple[list[str], str | None]:
    """A part's weights, and their variant: the plain ones if there are any, else those of half precision.

    Raises:
        PriorError: If it has none in safetensors.
    """
    found: dict[str | None, list[str]] = {}
    for name in names:
        match = WEIGHTS.fullmatch(name.removeprefix(f"{part}/"))
        if match and name.startswith(f"{part}/"):
            found.setdefault(match["variant"], []).append(name)
    for variant in (None, "fp16", *sorted(filter(None, found))):
        if variant in found:
            return found[variant], variant
    if any(name.startswith(f"{part}/") and name.endswith((".bin", ".pt", ".ckpt")) for name in names):
        raise PriorError(
            f"{part}/ holds pickled weights only, which can run code: only safetensors are read; "
            "load the pipeline once with diffusers and save_pretrained it, or take another revision"
        )
    raise PriorError(f"{part}/ holds no weights: expected a .safetensors file")


def _get_small(source: Source, part: str) -> None:
    names = small_files(source.names, part)
    _get_all(source, names)
    for name in names:
        if name.endswith("config.json"):
            read_json(source, name)


def _get_weights(source: Source, part: str) -> str | None:
    _get_small(source, part)
    files, variant = weight_files(source.names, part)
    for path in _get_all(source, files):
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise PriorError(
                f"{part}/{path.name} is a Git LFS pointer, not the weights: run `git lfs pull` there"
            )
        if not start:
            raise PriorError(f"{part}/{path.name} is empty: download it again")
        with blamed(f"{part}/{path.name}"), safe_open(path, "pt"):
            pass  # which reads where its tensors lie, and that all of them are there
    return variant


def _get_all(source: Source, names: list[str]) -> list[Path]:
    return [source.get(name) for name in names]


@contextmanager
def blamed(where: str) -> Iterator[None]:
    """Blame files for whatever goes wrong while a library reads them: damaged ones make it raise anything."""
    with named(where):
        try:
            yield
        except PriorError:
            raise
        except Exception as error:
            raise PriorError(f"cannot be read ({first_line(error)})") from error
