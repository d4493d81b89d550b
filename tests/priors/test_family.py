"""The table of families, and what docs/architecture.md says of adding one: one file, one config."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest
from threestudio_msd.priors import FAMILIES, PriorError, families
from threestudio_msd.priors.family import Families, family_of

import launch
from launcher import host

CONFIG = Path(__file__).parents[2] / "configs" / "msd-tiny.yaml"

MINE = """
import dataclasses

from threestudio_msd.priors import FAMILIES

FAMILIES["StableDiffusionImg2ImgPipeline"] = dataclasses.replace(
    FAMILIES["StableDiffusionPipeline"], name="Mine", resolution=lambda parts: 32
)
"""


def test_bundled_families_are_in_the_table():
    names = {family.name for family in FAMILIES.values()}
    assert {"Stable Diffusion 1 and 2", "Stable Diffusion XL", "Stable Diffusion 3"} < names
    assert {"DeepFloyd IF", "Flux.1"} < names


def test_a_bundled_family_is_imported_only_when_asked_for(monkeypatch):
    table = Families({"FluxPipeline": "flux"})
    monkeypatch.setattr(importlib, "import_module", lambda name: table.update(FluxPipeline=Path(name)))
    assert "FluxPipeline" in table and list(table) == ["FluxPipeline"]
    assert table.data == {"FluxPipeline": "flux"}
    assert table["FluxPipeline"] == Path("threestudio_msd.priors.families.flux")


def test_every_file_of_families_is_in_their_table():
    files = {path.stem for path in Path(families.__file__).parent.glob("[!_]*.py")}
    assert set(families.MODULES.values()) == files


def test_an_unknown_pipeline_is_named_with_the_known_and_the_nearest():
    with pytest.raises(PriorError, match="did you mean 'StableDiffusionXLPipeline'") as caught:
        family_of("StableDiffusionXLPipelin")
    assert all(name in str(caught.value) for name in FAMILIES)


def test_with_an_old_diffusers_only_the_newer_family_errs(monkeypatch):
    import diffusers

    monkeypatch.setattr(diffusers, "__version__", "0.29.0")
    monkeypatch.delitem(diffusers.__dict__, "FluxTransformer2DModel", raising=False)
    monkeypatch.delitem(getattr(diffusers, "_class_to_module", {}), "FluxTransformer2DModel", raising=False)
    family = FAMILIES["FluxPipeline"]
    with pytest.raises(PriorError, match=r"Flux.1 needs Flux.* diffusers 0\.29\.0 lacks: .*diffusers>=0\.30"):
        family.diffusers(family.backbone[1])
    assert FAMILIES["StableDiffusionPipeline"].diffusers("UNet2DConditionModel")


@pytest.mark.new_diffusers
def test_a_family_is_one_file_and_one_config(tmp_path, monkeypatch, random_pipeline):
    monkeypatch.setitem(FAMILIES, "StableDiffusionImg2ImgPipeline", None)  # so that it is gone afterwards
    monkeypatch.syspath_prepend(tmp_path / "custom")
    monkeypatch.setattr(launch, "import_extensions", lambda: host.import_extensions(tmp_path / "custom"))
    monkeypatch.chdir(tmp_path)
    model = shutil.copytree(random_pipeline, tmp_path / "mine")
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "StableDiffusionImg2ImgPipeline"})
    )
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "my_family.py").write_text(MINE)
    text = CONFIG.read_text()
    assert text.count("${msd_asset:tiny-prior}") == 1
    (tmp_path / "mine.yaml").write_text(text.replace("${msd_asset:tiny-prior}", "mine"))
    small = ["data.n_particles=2", "trainer.max_steps=2", "name=added", "tag=added", "use_timestamp=false"]
    assert launch.main(["--config", "mine.yaml", "--train", *small]) == 0
    assert Path("outputs/added/added/save/path.png").is_file()
