"""`LightningModule` and `LightningDataModule` without importing Lightning, which takes
seconds.

A class that derives from one of these gets Lightning's own class of that name as a
further base when it is first instantiated. Importing the host, and checking a config
against its classes, stays quick.
"""

import functools
from typing import TYPE_CHECKING, Any


class _Late:
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(_on_lightning(cls))


class _LightningModule(_Late):
    pass


class _LightningDataModule(_Late):
    pass


@functools.cache
def _on_lightning(cls: type) -> type:
    import pytorch_lightning

    late = _LightningModule if issubclass(cls, _LightningModule) else _LightningDataModule
    base = getattr(pytorch_lightning, late.__name__.removeprefix("_"))
    if issubclass(cls, base):
        return cls
    return type(cls.__name__, (cls, base), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})


if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule, LightningModule
else:
    LightningModule, LightningDataModule = _LightningModule, _LightningDataModule
