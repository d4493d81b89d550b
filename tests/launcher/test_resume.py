"""A resumed run goes on in its folder, as if it had not been broken off, with the settings of its making."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from launcher import UserError
from launcher.folder import in_own_folder
from launcher.resume import _require_same, find_misfit

from .dummy import FOLDER, curve, error, only_dummy, outcome, run

LAST = "outputs/dummy/broken/ckpts/last.ckpt"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs: a whole one, and one that an error broke off at step 25."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        only_dummy(patch, folder)
        assert run("tag=whole") == 0
        assert run("tag=broken", "system.fail_at=25") == 1
    return folder


@pytest.fixture
def there(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "copy")
    only_dummy(monkeypatch, tmp_path / "copy")


def test_it_goes_on_in_its_folder_with_all_it_had(there):
    Path("outputs/dummy/broken/ckpts/.99999-last.ckpt").write_text("half")
    assert run("tag=broken", f"resume={os.path.abspath(LAST)}") == 0
    assert sorted(entry.name for entry in FOLDER.iterdir()) == ["broken", "whole"]
    assert outcome("broken") == outcome("whole")
    assert curve("broken") == curve("whole")
    assert [entry.name for entry in (FOLDER / "broken/csv_logs").iterdir()] == ["version_0"]
    assert [entry.name for entry in (FOLDER / "broken/tb_logs").iterdir()] == ["version_0"]
    assert not list(FOLDER.rglob(".*"))


def test_nothing_is_left_of_a_finished_one_but_its_results(there, capfd):
    (FOLDER / "whole/save/it40-test.json").unlink()
    before = curve("whole")
    assert run("tag=whole", "resume=outputs/dummy/whole/ckpts/last.ckpt") == 0
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith("Nothing is left")]
    assert len(told) == 1 and "step 40" in told[0]
    assert outcome("whole") == outcome("whole", "it40-val")
    assert curve("whole") == before


def test_it_may_be_made_longer(there):
    assert run("tag=whole", "resume=outputs/dummy/whole/ckpts/last.ckpt", "trainer.max_steps=50") == 0
    assert (FOLDER / "whole/save/it50-test.json").is_file()
    assert [int(row["step"]) for row in curve("whole")][-1] > 40


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "system.guidance.noise=0.2",
            f"system.guidance.noise: {LAST} was made with 0.1, not 0.2; add --changed",
        ),
        ("system.optimizer.args.lr=0.2", "system.optimizer.args.lr: a run goes on with the optimiser"),
        ("system.optimizer.name=Adam", "system.optimizer.name: a run goes on with the optimiser"),
        ("system.scheduler.milestones=[20]", "system.scheduler.milestones: a run goes on"),
        (
            "tag=other",
            "tag: a run goes on in its folder, outputs/dummy/broken: expected 'broken', got 'other'",
        ),
        ("exp_root_dir=elsewhere", "exp_root_dir: a run goes on in its folder"),
    ],
)
def test_what_is_not_the_checkpoints(there, override, told, capfd):
    assert run("tag=broken", f"resume={LAST}", override) == 2
    assert told in error(capfd)
    assert sorted(entry.name for entry in FOLDER.iterdir()) == ["broken", "whole"]


def test_another_guidance_when_asked_for(there):
    assert run("tag=broken", f"resume={LAST}", "system.guidance.noise=0.2", "--changed") == 0
    assert outcome("broken") != outcome("whole")


def test_a_changed_rate_takes_effect_where_no_scheduler_moves_it(there, capfd):
    plain = ("tag=plain", "system.scheduler=null")
    assert run(*plain, "system.fail_at=25") == 1
    last = "resume=outputs/dummy/plain/ckpts/last.ckpt"
    assert run(*plain, last, "system.optimizer.params.net.lr=0.004") == 0
    saved = torch.load("outputs/dummy/plain/ckpts/last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == 0.004


def test_another_models_weights_are_refused_by_the_files_name(there, capfd):
    saved = torch.load(LAST, weights_only=True)
    del saved["settings"]
    saved["state_dict"] = {f"other.{name}": value for name, value in saved["state_dict"].items()}
    torch.save(saved, "foreign.ckpt")
    assert run("tag=new", "resume=foreign.ckpt") == 2
    assert "resume: foreign.ckpt is another model's: it has no net.0.weight" in error(capfd)
    assert run("tag=new", "system.weights=foreign.ckpt") == 2
    assert "system.weights: foreign.ckpt is another model's" in error(capfd)
    assert not (FOLDER / "new").exists()


def test_a_checkpoint_outside_a_run_starts_a_new_one(there):
    shutil.copy(LAST, "copy.ckpt")
    assert run("tag=new", "resume=copy.ckpt") == 0
    assert outcome("new") == outcome("whole")


def test_the_folder_comes_from_the_checkpoints_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "out/group/name/a_car@20250101-120000"
    (run / "ckpts").mkdir(parents=True)
    (run / "configs").mkdir()
    settings = {"resume": f"{run}/ckpts/last.ckpt", "name": "group/name", "tag": "b", "exp_root_dir": "x"}
    own = {"exp_root_dir": "out", "name": "group/name", "tag": "a_car", "timestamp": "@20250101-120000"}
    assert in_own_folder(settings, []) == {**settings, **own}
    assert in_own_folder({**settings, "name": "b"}, [])["exp_root_dir"] == "out/group"
    with pytest.raises(UserError, match=r"^tag: "):
        in_own_folder(settings, ["tag"])
    assert in_own_folder({"tag": "b"}, ["tag"]) == {"tag": "b"}


def test_misfits():
    weight = {"w": torch.ones(2)}
    assert find_misfit(weight, weight) is None
    assert find_misfit(weight, {}) == "it has no w"
    assert find_misfit(weight, {"w": torch.ones(3)}) == "w is [3], expected [2]"


SCENE = {
    "system": {
        "geometry_type": "implicit-volume",
        "geometry": {"radius": 1.0},
        "renderer_type": "nerf-volume-renderer",
        "renderer": {"num_samples_per_ray": 64},
        "background_type": "solid-color-background",
    },
}


def with_part(part, **settings):
    system = SCENE["system"]
    return {"system": {**system, part: {**system.get(part, {}), **settings}}}


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("geometry", "isosurface_threshold", 11.5),
        ("geometry", "isosurface_resolution", 65),
        ("renderer", "num_samples_per_ray", 128),
        ("renderer", "eval_chunk_size", 100),
        ("background", "color", [0.5, 0.5, 0.5]),
    ],
)
def test_settings_of_the_view_may_differ_where_nothing_is_trained(part, setting, value):
    ours = with_part(part, **{setting: value})
    _require_same("a.ckpt", SCENE, ours, changed=False, trains=False)
    with pytest.raises(UserError, match=rf"^system\.{part}\.{setting}: a\.ckpt was made with"):
        _require_same("a.ckpt", SCENE, ours, changed=False, trains=True)


@pytest.mark.parametrize("trains", [True, False])
def test_a_setting_written_at_its_default_is_no_other_setting(trains):
    ours = with_part("geometry", n_feature_dims=3, density_bias="blob_magic3d")
    _require_same("a.ckpt", SCENE, ours, changed=False, trains=trains)


@pytest.mark.parametrize(("setting", "value"), [("radius", 2.0), ("n_feature_dims", 4)])
def test_another_model_is_refused_where_nothing_is_trained(setting, value):
    with pytest.raises(UserError, match=rf"^system\.geometry\.{setting}: a\.ckpt was made with"):
        _require_same("a.ckpt", SCENE, with_part("geometry", **{setting: value}), changed=False, trains=False)
