"""Callbacks that keep a run's code and config."""

import os
import shutil
import subprocess
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn
from threestudio.utils.config import dump_config

LARGEST_SNAPSHOT = 1_000_000  # bytes; code and configs are smaller, weights are larger


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
        """The folder written into."""
        if not self.use_version:
            return self.save_root
        name = self.version if isinstance(self.version, str) else f"version_{self.version}"
        return os.path.join(self.save_root, name)


class CodeSnapshotCallback(VersionedCallback):
    """Copies the files that git knows or does not ignore in the current folder, but for large ones."""

    def get_file_list(self) -> list[str]:
        """The files, relative to the current folder."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":!:load/*"]
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        return [f for f in listed if os.path.isfile(f) and os.path.getsize(f) <= LARGEST_SNAPSHOT]

    @rank_zero_only
    def save_code_snapshot(self) -> None:
        """Copy now."""
        for file in self.get_file_list():
            target = os.path.join(self.savedir, file)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(file, target)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy when training starts; without git, warn."""
        try:
            self.save_code_snapshot()
        except (OSError, subprocess.CalledProcessError):
            rank_zero_warn(
                "Code snapshot is not saved: that needs git and a git repository as the current folder."
            )


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
        """Write now."""
        os.makedirs(self.savedir, exist_ok=True)
        dump_config(os.path.join(self.savedir, "parsed.yaml"), self.config)
        raw = os.path.join(self.savedir, "raw.yaml")
        if os.path.realpath(self.config_path) != os.path.realpath(raw):  # a run resumed from its own snapshot
            shutil.copyfile(self.config_path, raw)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write when training starts."""
        self.save_config_snapshot()
