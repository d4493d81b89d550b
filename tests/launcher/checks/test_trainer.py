"""The blocks `trainer` and `checkpoint`: Lightning's settings, before Lightning has them."""

import os

import pytest

from launcher import UserError
from launcher.checks.trainer import check_training


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trainer": {"float32_matmul_precision": "high"}},
        {"trainer": {"max_steps": 10, "precision": "16-mixed", "val_check_interval": 1.0, "devices": 1}},
        {"checkpoint": {"save_last": True, "save_top_k": -1, "every_n_train_steps": 10, "filename": "a"}},
    ],
    ids=["nothing", "matmul", "trainer", "checkpoint"],
)
def test_settings_that_lightning_takes_pass(settings):
    check_training(settings)


@pytest.mark.parametrize(
    ("block", "name", "value", "told"),
    [
        ("trainer", "max_stepz", 1, "unknown key; did you mean 'max_steps'"),
        ("trainer", "float32_matmul_precision", "tf32", "expected one of highest, high, medium, got 'tf32'"),
        ("trainer", "logger", False, "cannot be set here"),
        ("trainer", "precision", "64", "expected one of 32, 16"),
        ("trainer", "limit_train_batches", 0.5, "expected an integer of at least 1, or 1.0, got 0.5"),
        ("trainer", "devices", 9999, f"expected 1 to {os.cpu_count()}, which this machine has, got 9999"),
        ("trainer", "max_time", "abc", "abc"),
        ("checkpoint", "dirpath", "/tmp", "cannot be set here"),
        ("checkpoint", "filename", "../x", "expected a file's name without a folder"),
        ("checkpoint", "save_top_k", 2, "monitor"),
    ],
)
def test_what_it_would_not_take_is_told_with_the_key(block, name, value, told):
    with pytest.raises(UserError) as caught:
        check_training({block: {name: value}})
    assert str(caught.value).startswith(f"{block}.{name}: ")
    assert told in str(caught.value)
