"""The curves of a resumed run stay in the files of the run."""

import csv

from launcher.curves import curves


def logged(folder, first, steps, value, resumed=None):
    """Log a few steps, and read the CSV file."""
    loggers = curves(str(folder), resumed)
    for step in range(first, first + steps):
        for logger in loggers:
            logger.log_metrics({value: float(step)}, step)
    for logger in loggers:
        logger.finalize("success")
    with (folder / "csv_logs/version_0/metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_writes_its_steps_again(tmp_path):
    logged(tmp_path, 0, 5, "loss")
    rows = logged(tmp_path, 3, 4, "loss", resumed=3)
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [(i, float(i)) for i in range(7)]
    assert len(list((tmp_path / "tb_logs/version_0").glob("events*"))) == 2


def test_a_new_column_joins_the_old_ones(tmp_path):
    logged(tmp_path, 0, 2, "loss")
    rows = logged(tmp_path, 2, 1, "nfe", resumed=2)
    assert [row["loss"] for row in rows] == ["0.0", "1.0", ""]
    assert [row["nfe"] for row in rows] == ["", "", "2.0"]


def test_a_lost_file_is_begun_anew(tmp_path):
    assert [int(row["step"]) for row in logged(tmp_path, 4, 2, "loss", resumed=4)] == [4, 5]


def test_a_new_run_in_the_same_folder_has_a_log_of_its_own(tmp_path):
    logged(tmp_path, 0, 2, "loss")
    assert len(logged(tmp_path, 0, 3, "loss")) == 2
    assert (tmp_path / "csv_logs/version_1/metrics.csv").is_file()
