"""The annotations that threestudio code imports from one place."""

from collections.abc import Callable, Iterable, Sized
from typing import Any, Dict, List, Literal, NamedTuple, NewType, Optional, Tuple, Type, TypeVar, Union  # noqa: UP035

from jaxtyping import Bool, Complex, Float, Inexact, Int, Integer, Num, Shaped, UInt
from omegaconf import DictConfig
from torch import Tensor
from typeguard import typechecked as typechecker

__all__ = [
    "Any",
    "Bool",
    "Callable",
    "Complex",
    "Dict",
    "DictConfig",
    "Float",
    "Inexact",
    "Int",
    "Integer",
    "Iterable",
    "List",
    "Literal",
    "NamedTuple",
    "NewType",
    "Num",
    "Optional",
    "Shaped",
    "Sized",
    "Tensor",
    "Tuple",
    "Type",
    "TypeVar",
    "UInt",
    "Union",
    "typechecker",
]
