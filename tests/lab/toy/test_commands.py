import json

import pytest
from msd_lab.toy import commands
from msd_lab.toy.measurement import averaged
from msd_lab.toy.problems import Problem
from msd_lab.toy.report import Section
from threestudio_msd.distillation import NonFiniteError
from threestudio_msd.errors import UserError


@pytest.fixture
def command(monkeypatch):
    """Puts a command in the place of all others; returns what it was given."""

    def install(run):
        given = []

        def told(settings):
            given.append(settings)
            return run(settings)

        monkeypatch.setattr(commands, "COMMANDS", {"test": told})
        return given

    return install


def measured(settings):
    found = averaged(Problem("rings"), "MSD", [({"nll": 1.0}, 16)])
    settings.save(found)
    return Section("test", "Test", "Text.", found)


def test_a_command_is_given_its_settings_and_leaves_its_files(command, tmp_path, capsys):
    given = command(measured)
    files = ["--out", f"{tmp_path}/out", "--json", f"{tmp_path}/a/b.json", "--markdown", f"{tmp_path}/t.md"]
    assert commands.main(["all", "--quick", *files]) == 0
    assert given[0].seeds == 1 and given[0].scale is commands.QUICK
    assert len(json.loads((tmp_path / "a/b.json").read_text())) == 1
    assert "Test" in (tmp_path / "t.md").read_text() and (tmp_path / "out/toy.html").exists()
    assert "1.00" in capsys.readouterr().out


def test_without_quick_there_are_three_seeds(command):
    given = command(measured)
    assert commands.main(["test"]) == 0 and given[0].seeds == 3


@pytest.mark.parametrize(
    ("error", "status"), [(UserError("no such file"), 2), (NonFiniteError("gradient at step 3: NaN"), 1)]
)
def test_errors_are_one_line(command, error, status, capsys):
    def fail(settings):
        raise error

    command(fail)
    assert commands.main(["test"]) == status
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_bug_shows_itself(command):
    def fail(settings):
        raise ValueError("a bug")

    command(fail)
    with pytest.raises(ValueError, match="a bug"):
        commands.main(["test"])


def test_a_folder_that_cannot_be_is_refused_before_any_work(command, tmp_path, capsys):
    given = command(measured)
    (tmp_path / "file").write_text("")
    assert commands.main(["test", "--json", f"{tmp_path}/file/x.json"]) == 2
    assert "--json" in capsys.readouterr().err and not given


@pytest.mark.parametrize("seeds", ["0", "-1", "many"])
def test_a_bad_number_of_seeds_is_refused(seeds, capsys):
    with pytest.raises(SystemExit):
        commands.main(["table1", "--seeds", seeds])
    assert "at least 1" in capsys.readouterr().err
