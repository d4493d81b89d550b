"""Every finding of the doctor, provoked."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from launcher import doctor
from launcher.doctor import GIB, Finding, Package, examine, of_device, of_memory, of_model, of_package, report

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "configs" / "msd-tiny.yaml")


def stopping(findings) -> str:
    """What stops, in one text."""
    return "\n".join(str(finding) for finding in findings if finding.stops)


def test_a_config_that_runs_has_no_finding_that_stops(capsys):
    assert report(TINY, []) == 0
    said = capsys.readouterr().out
    assert "[stop]" not in said
    assert said.rstrip().endswith("will run here")


def test_what_stops_gives_status_2_and_says_what_mends_it(capsys):
    assert report(TINY, ["system.guidance.pretrained_model_name_or_path=nobody/nothing"]) == 2
    said = capsys.readouterr().out
    assert "nobody/nothing: HF_HUB_OFFLINE is set" in said
    assert "hf download nobody/nothing, or system.guidance.pretrained_model_name_or_path=FOLDER" in said


def test_a_wrong_setting():
    assert "did you mean 'bandwidth'" in stopping(examine(TINY, ["system.guidance.bandwith=3"]))


def test_a_missing_file():
    assert "nowhere.yaml: no such file" in stopping(examine("nowhere.yaml", []))


def test_a_host_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("THREESTUDIO_ROOT", str(tmp_path))
    assert "is not a threestudio checkout" in stopping(examine(TINY, []))


def test_packages():
    absent = of_package(Package("absent-package", "absent_package", "1.0"))
    assert absent == Finding("absent-package: is missing", "pip install 'absent-package>=1.0'", stops=True)
    old = of_package(Package("torch", "torch", "999.0"))
    assert old.mend == "pip install 'torch>=999.0'"
    assert not old.stops
    assert of_package(Package("torch", "torch", "2.0")).mend == ""


def test_a_missing_package_ends_the_examination(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", (Package("absent-package", "absent_package", "1.0"),))
    (found,) = examine(TINY, [])
    assert found.stops


def test_what_only_some_configs_need(monkeypatch):
    for name in ("PEFT", "NERFACC"):
        package = dataclasses.replace(getattr(doctor, name), module="absent_package")
        monkeypatch.setattr(doctor, name, package)
    vsd = {"system": {"guidance_type": "msd-vsd-guidance"}}
    assert "pip install 'peft>=" in stopping(doctor.of_settings(vsd))
    assert "pip install 'nerfacc>=" in stopping(
        doctor.of_settings({"system": {"renderer_type": "nerf-volume-renderer"}})
    )
    assert list(doctor.of_settings({"system": {"guidance_type": "msd-guidance"}})) == []


@pytest.mark.parametrize("built, mend", [(None, "CUDA build of torch"), ("12.6", "nvidia-smi")])
def test_no_gpu(monkeypatch, built, mend):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    assert mend in of_device().mend
    assert not of_device().stops


def test_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA X")
    monkeypatch.setattr(doctor, "device_memory", lambda: 80 * GIB)
    assert of_device() == Finding("GPU: NVIDIA X, 80 GiB")


def test_a_model_without_safetensors(random_pipeline, tmp_path):
    folder = tmp_path / "pickled"
    for path in random_pipeline.rglob("*"):
        if path.is_file():
            name = path.relative_to(random_pipeline)
            target = folder / (name.with_suffix(".bin") if path.suffix == ".safetensors" else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    assert "only safetensors are read" in stopping(of_model("system.guidance", str(folder), None, False))


def test_a_model_of_no_known_family(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "AudioPipeline"}')
    found = stopping(of_model("system.guidance", str(tmp_path), None, False))
    assert "a AudioPipeline is not supported" in found


def test_memory(monkeypatch):
    monkeypatch.setattr(doctor, "device_memory", lambda: 8 * GIB)
    assert of_memory("system.guidance", 4 * GIB).mend == ""
    tight = of_memory("system.guidance", 10 * GIB)
    assert (tight.mend.startswith("system.guidance.dtype=float16"), tight.stops) == (True, False)
    assert of_memory("system.guidance", 20 * GIB).stops


def test_bounds_are_those_of_setup_py():
    setup = (ROOT / "setup.py").read_text()
    for package in (*doctor.PACKAGES, doctor.PEFT, doctor.NERFACC):
        assert re.search(rf'"{package.name}>={re.escape(package.least)}["\,!]', setup), package.name
