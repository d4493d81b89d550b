"""Families of pretrained models, one file each; importing this puts them all into `FAMILIES`."""

import importlib
import pkgutil

for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    importlib.import_module(f"{__name__}.{module.name}")
