"""A run's curves, which a resumed run goes on with: one CSV file and one folder for TensorBoard."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from threestudio_msd.files import save_text


def curves(folder: str, step: int | None) -> list[Logger]:
    """The loggers of a run.

    Args:
        folder: The run's.
        step: That a resumed run begins with, whose rows from there on are written again; None for a new run.
    """
    if step is None:
        return [TensorBoardLogger(folder, name="tb_logs"), CSVLogger(folder, name="csv_logs")]
    return [
        TensorBoardLogger(folder, name="tb_logs", version=0, purge_step=step),
        ResumedCSVLogger(folder, step),
    ]


class ResumedCSVLogger(CSVLogger):
    """Lightning's, but for what is in the file already: it stays.

    Args:
        folder: The run's.
        step: Rows from this step on are removed.
    """

    def __init__(self, folder: str, step: int) -> None:
        super().__init__(folder, name="csv_logs", version=0)
        self._step = step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            writer = _Appending(self.log_dir)
            writer.keep_until(self._step)
            self._experiment = writer
        return self._experiment


class _Appending(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Where Lightning removes the file."""

    def keep_until(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if (row.get("step") or "").isdecimal() and int(row["step"]) < step]
        self.metrics_keys = list(reader.fieldnames or [])
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self.metrics_keys, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
        save_text(text.getvalue(), path)
