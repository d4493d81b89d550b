"""`scripts/demo_3d.py` from the prompt to the mesh."""

from __future__ import annotations

import json
import os
from pathlib import Path

import imageio.v3 as iio
import pytest
import trimesh


def small(pipeline):
    return [
        f"system.prompt_processor.pretrained_model_name_or_path={pipeline}",
        *("trainer.max_steps=2", "trainer.val_check_interval=2", "data.n_test_views=3"),
        *("data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
        "system.geometry.isosurface_resolution=24",
    ]


@pytest.fixture(autouse=True)
def few_cameras(monkeypatch):
    """Four are enough to see that a scene is measured."""
    from msd_lab.measure import scene, views
    from msd_lab.measure import trained_scene as run

    for module in (scene, run):
        monkeypatch.setattr(module, "evaluation_cameras", lambda: views.evaluation_cameras(4))
        monkeypatch.setattr(module, "SIZE", 16)


def test_ends_with_a_video_that_phones_play_a_mesh_and_figures(
    load_script, random_pipeline, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    assert load_script("demo_3d").main(['a "blue" house, 50%', *small(random_pipeline)]) == 0
    (run,) = Path("outputs/demo-3d").iterdir()
    video = run / "save" / "it2-test.mp4"
    codec = iio.immeta(video, plugin="FFMPEG")
    assert (codec["codec"], codec["pix_fmt"].split("(")[0]) == ("h264", "yuv420p")
    mesh = trimesh.load_mesh(run / "save" / "it2-export" / "model.glb")
    assert len(mesh.faces)
    figures = json.loads((run / "save" / "figures.json").read_text())
    assert {"depth_agreement", "opacity", "mesh_psnr", "floaters"} <= set(figures)
    out = capsys.readouterr().out
    assert f"{run / 'save' / 'it2-export' / 'model.html'}: the object, to turn" in out
    assert "depth_agreement" in out


def test_its_name_and_folder_can_be_set(load_script, random_pipeline, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["a red mug", *small(random_pipeline), "name=mine", "exp_root_dir=there"]
    assert load_script("demo_3d").main(words) == 0
    (run,) = Path("there/mine").iterdir()
    assert (run / "save" / "it2-export" / "model.glb").is_file()
    figures = json.loads((run / "save" / "figures.json").read_text())
    assert {"iou", "l1", "azimuth", "frechet", "both"} <= set(figures)  # a prompt with a truth


def test_the_newest_run_is_found_where_the_settings_put_it(load_script, tmp_path):
    demo = load_script("demo_3d")
    for age, name in enumerate(("new", "old")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        os.utime(tmp_path / "mine" / name, (1000 - age, 1000 - age))
    settings = ["a red mug", f"exp_root_dir={tmp_path}", "name=mine"]
    arguments = demo.demo_arguments("", "msd-nerf-tiny", "demo-3d", "", settings)
    assert demo.newest_run(arguments).name == "new"
