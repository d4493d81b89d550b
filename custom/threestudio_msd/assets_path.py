"""Files that ship with the extension, and the config resolver that names them:
`${msd_asset:tiny-prior}`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from omegaconf import OmegaConf

ASSETS = Path(__file__).resolve().parent / "assets"
TINY_PRIOR = "tiny-prior"


def asset(name: str) -> str:
    """Return the absolute path of a file or folder that ships with the extension.

    Args:
        name: Its name, directly inside `assets/`.

    Raises:
        FileNotFoundError: There is no asset of this name; the message lists the assets.
    """
    names = sorted(entry.name for entry in ASSETS.iterdir()) if ASSETS.is_dir() else []
    if name not in names:
        raise FileNotFoundError(f"no asset {name!r} in {ASSETS}; there are: {', '.join(names) or 'none'}")
    return str(ASSETS / name)


def is_tiny_prior(model: object) -> bool:
    """Tell whether a model is an existing folder called `tiny-prior`, the prior that
    ships with the extension.
    """
    return isinstance(model, str) and Path(model).is_dir() and Path(model).name == TINY_PRIOR


with warnings.catch_warnings():
    # threestudio pins an OmegaConf that knows this name only; the present one knows it too, but complains
    warnings.simplefilter("ignore")
    OmegaConf.register_new_resolver("msd_asset", asset, replace=True)
