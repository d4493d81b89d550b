import json

import pytest
from msd_lab.toy import commands
from msd_lab.toy.experiment import Batch, Experiment, Outcome
from msd_lab.toy.problems import Problem
from threestudio_msd.distillation import NonFiniteError
from threestudio_msd.errors import UserError


@pytest.fixture
def command(monkeypatch):
    """Puts an experiment in the place of all others; returns the seeds and scales of its runs."""

    def install(measure):
        given = []

        def recorded(problem, method, seed, scale, progress):
            given.append((seed, scale))
            return measure()

        batch = Batch((Problem("rings"),), {"MSD": "MSD"}, recorded, learned=False)
        monkeypatch.setattr(commands, "EXPERIMENTS", [Experiment("test", "Test", "Text.", [batch])])
        return given

    return install


def measured():
    return Outcome({"nll": 1.0}, 16)


def test_a_command_is_given_its_settings_and_leaves_its_files(command, tmp_path, capsys):
    given = command(measured)
    files = ["--out", f"{tmp_path}/out", "--json", f"{tmp_path}/a/b.json", "--markdown", f"{tmp_path}/t.md"]
    assert commands.main(["all", "--quick", *files]) == 0
    assert given == [(0, commands.QUICK)]
    assert len(json.loads((tmp_path / "a/b.json").read_text())) == 1
    assert "Test" in (tmp_path / "t.md").read_text() and (tmp_path / "out/toy.html").exists()
    assert "1.00" in capsys.readouterr().out


def test_without_quick_there_are_three_seeds(command, tmp_path):
    given = command(measured)
    assert commands.main(["test", "--out", str(tmp_path)]) == 0
    assert given == [(seed, commands.Scale()) for seed in range(3)]


@pytest.mark.parametrize(
    ("error", "status"), [(UserError("no such file"), 2), (NonFiniteError("gradient at step 3: NaN"), 1)]
)
def test_errors_are_one_line(command, error, status, tmp_path, capsys):
    def fail():
        raise error

    command(fail)
    assert commands.main(["test", "--out", str(tmp_path)]) == status
    assert capsys.readouterr().err.strip() == f"error: {error}"


def test_a_bug_shows_itself(command, tmp_path):
    def fail():
        raise ValueError("a bug")

    command(fail)
    with pytest.raises(ValueError, match="a bug"):
        commands.main(["test", "--out", str(tmp_path)])


def test_a_folder_that_cannot_be_is_refused_before_any_work(command, tmp_path, capsys):
    given = command(measured)
    (tmp_path / "file").write_text("")
    assert commands.main(["test", "--json", f"{tmp_path}/file/x.json", "--out", str(tmp_path)]) == 2
    assert "--json" in capsys.readouterr().err and not given


@pytest.mark.parametrize("seeds", ["0", "-1", "many"])
def test_a_bad_number_of_seeds_is_refused(seeds, capsys):
    with pytest.raises(SystemExit):
        commands.main(["table1", "--seeds", seeds])
    assert "expected a whole number from 1" in capsys.readouterr().err
