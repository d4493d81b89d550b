"""Callbacks that keep a run's config."""

import os
import shutil
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from threestudio.utils.config import dump_config


class VersionedCallback(Callback):
    """Writes into `save_root`, or with `use_version` into the next free `save_root/version_N`."""

    def __init__(self, save_root: str, version: int | str | None = None, use_version: bool = True) -> None:
        self.save_root = save_root
        self.use_version = use_version
        self._version = version

    @property
    def version(self) -> int | str:
        """The version, chosen when it is first asked for."""
        if self._version is None:
            names = os.listdir(self.save_root) if os.path.isdir(self.save_root) else []
            numbers = [name.removeprefix("version_") for name in names if name.startswith("version_")]
            self._version = 1 + max((int(n) for n in numbers if n.isdigit()), default=-1)
        return self._version

    @property
    def savedir(self) -> str:
        if not self.use_version:
            return self.save_root
        name = self.version if isinstance(self.version, str) else f"version_{self.version}"
        return os.path.join(self.save_root, name)


class ConfigSnapshotCallback(VersionedCallback):
    """Writes the parsed config and a copy of the file it came from."""

    def __init__(
        self,
        config_path: str,
        config: Any,
        save_root: str,
        version: int | str | None = None,
        use_version: bool = True,
    ) -> None:
        super().__init__(save_root, version, use_version)
        self.config_path = config_path
        self.config = config

    @rank_zero_only
    def save_config_snapshot(self) -> None:
        os.makedirs(self.savedir, exist_ok=True)
        dump_config(os.path.join(self.savedir, "parsed.yaml"), self.config)
        raw = os.path.join(self.savedir, "raw.yaml")
        if os.path.realpath(self.config_path) != os.path.realpath(raw):  # a run resumed from its own snapshot
            shutil.copyfile(self.config_path, raw)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save_config_snapshot()
