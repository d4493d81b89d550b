"""The progress bar: the steps of the whole run, from where it starts, and the scalars that matter."""

from types import SimpleNamespace

import pytest

from launcher.bar import RunProgressBar


@pytest.fixture
def trainer():
    metrics = {"train/loss": 0.12345, "train/bandwidth": 8.0, "train/other": 1.0}
    return SimpleNamespace(
        max_steps=40,
        global_step=10,
        callback_metrics=metrics,
        progress_bar_metrics={"v_num": 3},
        num_test_batches=[2, 1],
        loggers=[],
    )


@pytest.fixture
def bar(monkeypatch):
    made = RunProgressBar()
    monkeypatch.setattr(
        made, "get_metrics", lambda trainer, module: {**trainer.progress_bar_metrics, "extra": 2}
    )
    return made


def test_a_resumed_run_is_shown_from_its_step_with_loss_and_bandwidth(bar, trainer, capsys):
    bar.on_train_start(trainer, None)
    assert (bar._bar.n, bar._bar.total) == (10, 40)
    trainer.global_step = 12
    bar.on_train_batch_end(trainer, None)
    assert bar._bar.n == 12
    assert bar._bar.postfix == "loss=0.123, bandwidth=8, extra=2"
    bar.on_train_end(trainer, None)
    assert "12/40" in capsys.readouterr().err


def test_an_error_closes_it_and_a_test_has_its_own(bar, trainer, capsys):
    bar.on_exception(trainer, None, ValueError())
    bar.on_test_start(trainer, None)
    bar.on_test_batch_end()
    assert (bar._bar.n, bar._bar.total) == (1, 3)
    bar.on_test_end(trainer, None)
    assert bar._bar is None


def test_further_processes_show_nothing(bar, trainer, capsys):
    bar.disable()
    bar.on_train_start(trainer, None)
    bar.on_train_batch_end(trainer, None)
    bar.on_train_end(trainer, None)
    assert capsys.readouterr().err == ""
