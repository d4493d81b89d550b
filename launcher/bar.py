"""One progress bar for the whole run."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm.auto import tqdm

SHOWN = ("train/loss", "train/bandwidth", "train/shift_norm")


def figure(value: float) -> str:
    """Writes a number as people read it.

    >>> figure(1540.2), figure(0.01234)
    ('1,540', '0.0123')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


class RunProgressBar(ProgressBar):
    """Steps of the whole run, rate, time left, and the scalars that matter; in a log file every ten seconds.

    Shown are what a system logs with `prog_bar=True` and what it logs under the beginnings in `SHOWN`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing (all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def _open(self, what: str, total: float, done: int = 0) -> None:
        self._bar = tqdm(
            desc=what,
            total=int(total) if 0 < total < float("inf") else None,
            initial=done,
            disable=not self._enabled,
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def _close(self, *args: Any) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    on_train_end = on_test_end = on_exception = _close

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._open("train", trainer.max_steps, trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self._bar.set_postfix(self._scalars(trainer, pl_module), refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)

    def _scalars(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, str]:
        metrics = {key: value for key, value in trainer.callback_metrics.items() if key.startswith(SHOWN)}
        metrics.update(self.get_metrics(trainer, pl_module))
        metrics.pop("v_num", None)
        return {key.removeprefix("train/"): figure(float(value)) for key, value in metrics.items()}

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._open("test", sum(trainer.num_test_batches))

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._bar.update()
