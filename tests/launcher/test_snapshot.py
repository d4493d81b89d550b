"""A run's copy of the code: the sources, and neither runs nor secrets."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher import snapshot
from launcher.snapshot import CodeSnapshot, sources


def write(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    write(root, "launch.py", "launcher/run.py", "custom/mine/system.py", "configs/mine.yaml", "notes.py")
    return root


def names(root, outputs="outputs"):
    return {str(path.relative_to(root)) for path in sources(root, root / outputs)}


OWN = {"launch.py", "launcher/run.py", "custom/mine/system.py"}


@pytest.mark.parametrize(
    "other",
    [
        ".env",
        "results/a/b/code/launch.py",
        "custom/mine/.env",
        "custom/mine/.secret.yaml",
        "custom/mine/.git/hook.py",
        "custom/mine/__pycache__/system.py",
        "custom/mine/weights.safetensors",
        "custom/mine/key.json",
        "custom/outputs/a/b/configs/raw.yaml",
    ],
)
def test_neither_outputs_nor_secrets_are_sources(checkout, other):
    write(checkout, other)
    assert names(checkout, "custom/outputs") == OWN


def test_an_extension_that_is_a_link_is_a_source_and_no_other_link_is_followed(checkout, tmp_path):
    write(tmp_path, "linked/a.py", "data/b.py", "linked/.env")
    (checkout / "custom/linked").symlink_to(tmp_path / "linked")
    (checkout / "custom/mine/data").symlink_to(tmp_path / "data")
    (tmp_path / "linked/loop").symlink_to(checkout)
    assert names(checkout) == OWN | {"custom/linked/a.py"}


@pytest.mark.parametrize("mark", ["cmd.txt", "pyvenv.cfg"])
def test_runs_and_environments_inside_an_extension_are_no_sources(checkout, mark):
    write(checkout, f"custom/mine/a/{mark}", "custom/mine/a/code/launch.py", "custom/mine/a/x.py")
    assert names(checkout) == OWN


def test_large_files_are_left_out(checkout):
    (checkout / "custom/mine/table.py").write_bytes(bytes(snapshot.LARGEST + 1))
    assert names(checkout) == OWN


@pytest.mark.parametrize("outputs", ["results", "custom/results", "custom/mine/runs"])
def test_snapshots_do_not_grow_from_run_to_run(checkout, outputs, monkeypatch):
    monkeypatch.setattr(snapshot, "ROOT", checkout)
    copied = []
    for run in ("first", "second", "third"):
        folder = checkout / outputs / run / "code"
        callback = CodeSnapshot(str(checkout / "configs/mine.yaml"), folder, str(checkout / outputs))
        callback.on_fit_start(SimpleNamespace(is_global_zero=True), None)
        copied.append({str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()})
    assert copied == [OWN | {"configs/mine.yaml"}] * 3


def test_started_from_elsewhere_the_snapshot_is_still_of_the_product(checkout, tmp_path, monkeypatch):
    write(tmp_path / "else", "own.yaml", ".env", "app.py")
    monkeypatch.chdir(tmp_path / "else")
    monkeypatch.setattr(snapshot, "ROOT", checkout)
    CodeSnapshot("own.yaml", Path("run/code"), "run").on_fit_start(SimpleNamespace(is_global_zero=True), None)
    copied = {str(path.relative_to("run/code")) for path in Path("run/code").rglob("*") if path.is_file()}
    assert copied == OWN | {"own.yaml"}
