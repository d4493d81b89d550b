"""The same extension folder and the same YAML inside an unmodified threestudio.

    THREESTUDIO_ROOT=path/to/threestudio pytest -m threestudio

runs the checkout's own launch.py, with this extension linked into a copy of its `custom/`. Where the machine
has no GPU, THREESTUDIO_LAUNCHER names a script that runs that launch.py on a CPU.
"""

from __future__ import annotations

from msd_lab.measure.meshes import load_mesh

from .checkout import INSIDE, REPOSITORY, launch, logged

pytestmark = INSIDE

SHORT = {
    "trainer.max_steps": "4",
    "trainer.val_check_interval": "2",
    "data.n_particles": "2",
    "system.prompt_processor.prompt": "a green car",
}


def test_the_tiny_config_trains_inside_threestudio(checkout):
    config = REPOSITORY / "configs" / "msd-tiny.yaml"
    _, run = launch(checkout, config, {**SHORT, "name": "msd-tiny"})
    assert sorted(path.name for path in (run / "save" / "it4-test").glob("*.png")) == ["0.png", "1.png"]
    assert (run / "save" / "path.png").is_file()
    assert (run / "ckpts" / "last.ckpt").is_file()
    assert {"train/loss_msd", "train/bandwidth", "train/shift_norm", "train/nfe"} <= logged(run)


def test_the_tiny_text_to_3d_config_trains_and_exports_inside_threestudio(checkout):
    config = REPOSITORY / "configs" / "msd-nerf-tiny.yaml"
    small = {f"data.{size}": "16" for size in ("height", "width", "eval_height", "eval_width")}
    fewer = {
        "data.batch_size": "2",
        "data.cameras_per_round": "4",
        "data.n_val_views": "1",
        "data.n_test_views": "2",
    }
    cheap = {"system.geometry.sizes": "[4,8]", "system.guidance.sampler.steps": "1"}
    steps = {"trainer.max_steps": "4", "trainer.val_check_interval": "2", "name": "msd-nerf-tiny"}
    settings = {**small, **fewer, **cheap, **steps}
    _, run = launch(checkout, config, settings)
    assert len(list((run / "save" / "it4-test").glob("*.png"))) == 2
    assert (run / "save" / "it4-test.mp4").is_file()
    assert (run / "ckpts" / "last.ckpt").is_file()
    mesh = {"system.geometry.isosurface_method": "mc-cpu", "system.geometry.isosurface_resolution": "24"}
    settings |= {**mesh, "resume": str(run / "ckpts" / "last.ckpt")}
    launch(checkout, config, settings, "--export")
    files = {path.name for path in (run / "save" / "it4-export").iterdir()}
    assert files == {"model.glb", "model.html"}
    assert len(load_mesh(run / "save" / "it4-export" / "model.glb").faces)
