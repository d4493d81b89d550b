"""Callbacks that keep a run's config."""

import os
import shutil
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from threestudio.utils.config import dump_config


class ConfigSnapshotCallback(Callback):
    """Writes the parsed config and a copy of the file it came from into a folder when
    training starts.
    """

    def __init__(self, config_path: str, config: Any, save_root: str) -> None:
        self.config_path, self.config, self.save_root = config_path, config, save_root

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        os.makedirs(self.save_root, exist_ok=True)
        dump_config(os.path.join(self.save_root, "parsed.yaml"), self.config)
        raw = os.path.join(self.save_root, "raw.yaml")
        if os.path.realpath(self.config_path) != os.path.realpath(raw):  # a run resumed from its own snapshot
            shutil.copyfile(self.config_path, raw)
