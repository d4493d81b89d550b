"""`scripts/demo_3d.py` from the prompt to the mesh."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import trimesh


def test_ends_with_a_video_that_phones_play_and_a_mesh(
    load_script, random_pipeline, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    status = load_script("demo_3d").main(
        [
            'a "blue" house, 50%',
            f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}",
            *("trainer.max_steps=2", "trainer.val_check_interval=2", "data.n_test_views=3"),
            *("data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
            *("system.guidance.sampler.steps=1", "system.geometry.isosurface_resolution=24"),
        ]
    )
    assert status == 0
    (run,) = Path("outputs/demo-3d").iterdir()
    video = run / "save" / "it2-test.mp4"
    codec = iio.immeta(video, plugin="FFMPEG")
    assert (codec["codec"], codec["pix_fmt"].split("(")[0]) == ("h264", "yuv420p")
    mesh = trimesh.load_mesh(run / "save" / "it2-export" / "model.glb")
    assert len(mesh.faces)
    assert str(run) in capsys.readouterr().out
