"""Every finding of the doctor, provoked."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from threestudio_msd.errors import UserError
from threestudio_msd.priors import load_model

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


@pytest.mark.parametrize("missing", [0, 1], ids=["sentencepiece", "protobuf"])
def test_what_t5s_tokenizer_needs(random_pipeline, tmp_path, monkeypatch, missing):
    model = tmp_path / "model"
    shutil.copytree(random_pipeline, model)
    for name in ("tokenizer.json", "spiece.model"):
        (model / "tokenizer" / name).unlink(missing_ok=True)
    (model / "tokenizer" / "spiece.model").touch()
    there = [dataclasses.replace(one, module="torch", least="") for one in doctor.T5_PACKAGES]
    there[missing] = dataclasses.replace(doctor.T5_PACKAGES[missing], module="absent_package.part")
    monkeypatch.setattr(doctor, "T5_PACKAGES", there)
    (found,) = [one for one in of_model("system.guidance", str(model), None, True) if one.stops]
    assert found.what == f"{doctor.T5_PACKAGES[missing].name}: is missing"
    assert "t5" in found.mend


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
    assert of_memory("system.prompt_processor", 20 * GIB).mend.startswith("a smaller model")


def test_what_a_real_threestudio_imports_at_once(monkeypatch):
    monkeypatch.setattr(doctor, "find_host", lambda: "threestudio (somewhere)")
    monkeypatch.setattr(doctor, "import_host", raiser(UserError("threestudio cannot be imported")))
    absent = [dataclasses.replace(one, module=f"absent_{one.module}") for one in doctor.REAL_HOST]
    monkeypatch.setattr(doctor, "REAL_HOST", absent)
    said = stopping(examine(TINY, []))
    for part in ("tinycudann: is missing", "NVlabs/tiny-cuda-nn", "NVlabs/nvdiffrast", "nerfacc>=0.5.3"):
        assert part in said
    assert "host: threestudio cannot be imported" in said


def raiser(error):
    def raises(*_):
        raise error

    return raises


def of(model, revision=None):
    """What is found of a guidance's model."""
    return list(of_model("system.guidance", model, revision, False))


@pytest.mark.parametrize(
    "name, said",
    [
        ("gated", "/me/gated and log in with `hf auth login`"),
        ("listed", "/me/listed and log in with `hf auth login`"),
        ("expired", "log in again with `hf auth login`"),
        ("gone", "the hub has no such model: check the id"),
        ("revision", "no such revision"),
        ("down", "the hub cannot be reached"),
    ],
)
def test_a_model_that_the_hub_does_not_give(hub, name, said):
    (found,) = of(f"me/{name}")
    assert found.stops
    assert said in found.what
    assert f"hf download me/{name}" in found.mend


def test_a_model_on_the_hub_and_then_in_its_cache(hub, monkeypatch):
    monkeypatch.setattr(doctor, "device_memory", lambda: 8 * GIB)
    there, memory = of("me/tiny")
    assert there.what.endswith("network and autoencoder, to be downloaded")
    assert "0.00 GiB of weights" in memory.what
    load_model("me/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert of("me/tiny")[0].what.endswith("network and autoencoder, here")


def test_a_hub_that_says_no_sizes_costs_the_memorys_line_only(hub, monkeypatch):
    monkeypatch.setattr(hub, "sizes", False)
    assert len(of("me/tiny")) == 1


def test_bounds_are_those_of_setup_py():
    setup = (ROOT / "setup.py").read_text()
    for package in (*doctor.PACKAGES, *doctor.T5_PACKAGES, doctor.PEFT, doctor.NERFACC):
        assert re.search(rf'"{package.name}>={re.escape(package.least)}["\,!]', setup), package.name
