"""A portable subset of threestudio's API: pip packages only, CPU or GPU.

Names, signatures and config keys are threestudio's, so an extension runs on either host
without knowing which it got.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

__modules__: dict[str, type] = {}
__version__ = "0.2.3"

logger = logging.getLogger("pytorch_lightning")  # by its name: importing Lightning takes seconds

T = TypeVar("T", bound=type)


def _on_first_process(log: Callable[..., None]) -> Callable[..., None]:
    def first_only(*args: Any, **kwargs: Any) -> None:
        if get_rank() == 0:
            log(*args, **kwargs)

    return first_only


debug, info, warn = map(_on_first_process, (logger.debug, logger.info, logger.warning))


def register(name: str) -> Callable[[T], T]:
    """Class decorator that makes a class available to configs under `name`.

    Raises:
        ValueError: The name is taken, by this or by another extension.
    """

    def decorator(cls: T) -> T:
        if name in __modules__:
            taken = __modules__[name]
            raise ValueError(f"'{name}' is already registered, by {taken.__module__}.{taken.__qualname__}")
        __modules__[name] = cls
        return cls

    return decorator


def find(name: str) -> type:
    """The class registered under `name`; `"main:mixin_a,mixin_b"` builds `main` with
    the mixins in front.

    Raises:
        KeyError: A name is not registered; the launcher finds that earlier, and says
            what is.
    """
    main, _, mixins = name.partition(":")
    bases = tuple(__modules__[part] for part in [*filter(None, mixins.split(",")), main])
    return bases[0] if len(bases) == 1 else type(name.replace(":", "."), bases, {})


from . import data, models, systems  # noqa: E402, F401  (they register themselves, with the functions above)
from .utils.misc import get_rank  # noqa: E402
