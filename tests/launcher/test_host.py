"""Which threestudio runs, what is wrong with one that cannot, and the extensions that are imported."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import UserError, host

from .dummy import CONFIG, run

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_portable_host_is_found_and_told_where_it_is(monkeypatch):
    monkeypatch.delenv("THREESTUDIO_ROOT", raising=False)
    assert host.find_host() == f"portable threestudio ({REPOSITORY / 'portable' / 'threestudio'})"


def test_a_working_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match=r"^the working folder was removed"):
        host.find_host()


def test_a_root_that_is_no_checkout_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("THREESTUDIO_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=f"^THREESTUDIO_ROOT: {tmp_path} is not a threestudio checkout"):
        host.find_host()


def test_extensions_are_folders_and_files_but_for_disabled_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    custom = tmp_path / "custom"
    (custom / "house_folder").mkdir(parents=True)
    (custom / "house_folder" / "__init__.py").touch()
    (custom / "house_nothing").mkdir()
    for name in ("house_file.py", "house_notes.txt", "house_file_disabled.py", "__init__.py", ".house.py"):
        (custom / name).touch()
    assert host.import_extensions(custom) == ["house_file", "house_folder"]
    assert host.import_extensions(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("error", "told"), [(OSError(28, "No space left"), "No space left"), (FloatingPointError("NaN"), "NaN")]
)
def test_what_host_and_disk_raise_becomes_one_line(error, told):
    with pytest.raises(UserError, match=told) as caught, host.user_errors():
        raise error
    assert caught.value.status == (2 if isinstance(error, OSError) else 1)


def test_a_bug_stays_a_bug():
    with pytest.raises(ZeroDivisionError), host.user_errors():
        raise ZeroDivisionError


def test_type_checks_need_their_package(monkeypatch, capfd):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "beartype" else found(name))
    assert run("--typecheck", "tag=t") == 2
    assert (
        capfd.readouterr().err
        == "error: --typecheck: the package 'beartype' is missing; pip install beartype\n"
    )


@pytest.fixture
def repository(tmp_path):
    """The launcher alone: what a process imports before the host."""
    folder = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "launcher", folder / "launcher")
    shutil.copy(REPOSITORY / "launch.py", folder)
    shared = folder / "custom/threestudio_msd"  # what the launcher has from the extension
    shared.mkdir(parents=True)
    for file in (REPOSITORY / "custom/threestudio_msd").glob("[!_]*.py"):
        shutil.copy(file, shared)
    return folder


def start(repository, threestudio):
    """The exit status and the output of a run, in a process of its own, inside a checkout."""
    command = [sys.executable, str(repository / "launch.py"), "--config", CONFIG, "--train", "tag=t"]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        env={**clean, "THREESTUDIO_ROOT": str(threestudio)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_broken_threestudio_is_an_error_and_no_fall_back(repository, tmp_path):
    package = tmp_path / "checkout/threestudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import no_such_cuda_package")
    status, output = start(repository, tmp_path / "checkout")
    assert status == 2
    first, second = output.splitlines()
    assert first == f"host: threestudio ({package})" or first == "host: threestudio (checkout/threestudio)"
    assert "the package 'no_such_cuda_package' is missing or broken" in second


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("x =", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("raise RuntimeError('no GPU\\nat all')", "RuntimeError: no GPU"),
        ("import sys\nsys.exit('no CUDA')", "SystemExit: no CUDA"),
        ("import ctypes\nctypes.CDLL('./no_such.so')", "OSError: ./no_such.so: cannot open shared object"),
        ("from threestudio import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("open('missing.json')", "FileNotFoundError: [Errno 2] No such file or directory: 'missing.json'"),
        (
            "import threestudio\n@threestudio.register('random-camera-datamodule')\nclass A: pass",
            "ValueError: 'random-camera-datamodule' is already registered, by threestudio.data.uncond.",
        ),
    ],
)
def test_a_broken_extension_costs_a_warning_with_its_cause(source, cause, tmp_path, monkeypatch, caplog):
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "broken.py").write_text(source)
    (custom / "other_disabled.py").write_text("raise RuntimeError")
    (custom / "whole.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("broken", "whole"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert host.import_extensions(custom) == ["whole"]
    (told,) = caplog.messages
    assert told.startswith(f"the extension custom/broken is left out, as it cannot be imported: {cause}")


def test_an_extension_with_the_name_of_another_module_is_told(tmp_path, monkeypatch, caplog):
    (tmp_path / "shutil.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert host.import_extensions(tmp_path) == []
    assert f"ImportError: {shutil.__file__} has this name too; rename the extension" in caplog.text


def test_an_extension_with_a_standard_modules_name_hides_it_from_nobody(tmp_path, monkeypatch, caplog):
    (tmp_path / "colorsys.py").write_text("raise RuntimeError")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert host.import_extensions(tmp_path) == []
    assert "has this name too; rename the extension" in caplog.text
    assert importlib.import_module("colorsys").rgb_to_hsv(1, 1, 1) == (0, 0, 1)
