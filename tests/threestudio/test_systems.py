"""threestudio's own configs with this package's guidance, switched by the command line alone.

    THREESTUDIO_ROOT=path/to/threestudio pytest -m threestudio

Trains two steps with a validation after each, and tests, on the tiny prior; THREESTUDIO_LAUNCHER as in
`test_configs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from threestudio_msd.assets_path import asset

from .checkout import INSIDE, launch, logged
from .things import TETRAHEDRA

pytestmark = INSIDE

LENGTH = {"guidance.trainer_max_steps": "${trainer.max_steps}"}
CHEAP = {"guidance.sampler.type": "posterior", "guidance.sampler.steps": "2"}
MSD = {"guidance_type": "msd-guidance", "loss.lambda_msd": "1.0", **LENGTH, **CHEAP}
SDS = {"guidance_type": "msd-sds-guidance", "loss.lambda_sds": "1.0"}
SDI = {"guidance_type": "msd-sdi-guidance", "loss.lambda_sdi": "1.0", **LENGTH}
VSD = {"guidance_type": "msd-vsd-guidance"}

SHORT = {
    "trainer.max_steps": "2",
    "trainer.val_check_interval": "1",
    "trainer.num_sanity_val_steps": "0",
    "checkpoint.every_n_train_steps": "1",
}
VIEWS = {
    "eval_batch_size": "1",
    "n_val_views": "1",
    "n_test_views": "1",
    **dict.fromkeys(("batch_size",), "1"),
    **dict.fromkeys(("width", "height", "eval_width", "eval_height"), "16"),
}
CAMERAS = {f"data.{key}": value for key, value in VIEWS.items()}
IMAGE = {
    "data.image_path": "load/disc_rgba.png",
    "data.height": "16",
    "data.width": "16",
    **{f"data.random_camera.{key}": value for key, value in VIEWS.items()},
}
MILESTONES = dict.fromkeys(("data.resolution_milestones", "data.random_camera.resolution_milestones"), "[]")
PHOTOGRAPHS = {
    "data.dataroot": "load/photographs",
    "data.train_downsample_resolution": "1",
    "data.eval_downsample_resolution": "1",
}
SAMPLES = {"system.renderer.num_samples_per_ray": "8"}
INNER_SAMPLES = {"system.renderer.base_renderer.num_samples_per_ray": "8"}
MESH = {"system.geometry.isosurface_resolution": str(TETRAHEDRA)}
PROMPT = {"system.prompt_processor_type": "stable-diffusion-prompt-processor"}
NO_DEPTH = {"system.loss.lambda_depth": "0", "system.loss.lambda_depth_rel": "0"}
THIRD = {
    "guidance_3d_type": "msd-guidance",
    "loss.lambda_3d_msd": "1.0",
    "guidance_3d.pretrained_model_name_or_path": asset("tiny-prior"),
    "guidance_3d.trainer_max_steps": "${trainer.max_steps}",
    "guidance_3d.sampler.type": "tweedie",
}
OWN_LOG = ("grad_norm", "nfe")


@dataclass(frozen=True)
class Case:
    """One of threestudio's configs.

    Attributes:
        config: Its file, without the suffix.
        guidance: What switches to one of this package's, below `system`.
        settings: What makes it small, and what it asks for.
        after: The case whose checkpoint it begins with, and the setting that names it.
        logs: What its training logs of the guidance.
    """

    config: str
    guidance: Mapping[str, str] = field(default_factory=lambda: MSD)
    settings: Mapping[str, str] = field(default_factory=lambda: {**CAMERAS, **SAMPLES})
    after: tuple[str, str] | None = None
    logs: tuple[str, ...] = OWN_LOG

    @property
    def name(self) -> str:
        """Of the test, and of the run."""
        return f"{Path(self.config).name}-{self.guidance['guidance_type']}"


RASTERIZED = {**CAMERAS, **MESH, "trainer.precision": "32"}  # bfloat16 fails in its rasteriser on a CPU
CONVERTED = {**RASTERIZED, "system.geometry_convert_override.isosurface_threshold": "auto"}
CASES = [
    Case("dreamfusion-sd"),
    Case("dreamfusion-sd", SDS),
    Case("dreamfusion-sd-eff"),
    Case("magic3d-coarse-sd"),
    Case("magic3d-refine-sd", MSD, CONVERTED, ("magic3d-coarse-sd-msd-guidance", "geometry_convert_from")),
    Case("prolificdreamer"),
    Case("prolificdreamer", VSD),
    Case("prolificdreamer-patch", VSD, {**CAMERAS, **INNER_SAMPLES, "system.renderer.patch_size": "8"}),
    Case(
        "prolificdreamer-geometry", MSD, CONVERTED, ("prolificdreamer-msd-guidance", "geometry_convert_from")
    ),
    Case(
        "prolificdreamer-texture",
        VSD,
        RASTERIZED,
        ("prolificdreamer-geometry-msd-guidance", "geometry_convert_from"),
    ),
    Case("hifa"),
    Case("sjc"),
    Case("latentnerf"),
    Case("latentnerf-refine", MSD, {**CAMERAS, **SAMPLES}, ("latentnerf-msd-guidance", "weights")),
    Case("sketchshape", MSD, {**CAMERAS, **SAMPLES, "system.guide_shape": "load/box.obj"}),
    Case("sdi"),
    Case("sdi", SDI),
    Case(
        "fantasia3d",
        MSD,
        {
            **RASTERIZED,
            "system.latent_steps": "1",  # one step on latents, one on normals
            "system.geometry.shape_init": "null",
            "system.geometry.sdf_bias": "sphere",
            "system.geometry.sdf_bias_params": "0.5",
        },
    ),
    Case("textmesh-if", MSD, {**CAMERAS, **SAMPLES, **PROMPT}),
    Case(
        "magic123-coarse-sd", {**MSD, **THIRD}, {**IMAGE, **SAMPLES}, logs=(*OWN_LOG, "nfe_3d", "loss_msd_3d")
    ),
    Case(
        "zero123",
        MSD,
        {**IMAGE, **MILESTONES, **SAMPLES, **PROMPT, "system.freq.guidance_eval": "1"},
        logs=("loss_zero123_sds",),
    ),
    Case("experimental/unified-guidance/zero123-simple", MSD, {**IMAGE, **SAMPLES, **PROMPT}),
    Case(
        "experimental/imagecondition",
        MSD,
        {**IMAGE, **SAMPLES, **NO_DEPTH, "system.freq.ref_only_steps": "0", "system.freq.guidance_eval": "1"},
        logs=("loss_guidance_sds",),
    ),
    Case(
        "instructnerf2nerf",
        MSD,
        {
            **PHOTOGRAPHS,
            **INNER_SAMPLES,
            "system.renderer.patch_size": "8",
            "system.start_editing_step": "0",
            "system.per_editing_step": "1",
        },
        logs=("loss_l1",),
    ),
    Case(
        "control4d-static",
        MSD,
        {
            **PHOTOGRAPHS,
            **INNER_SAMPLES,
            "trainer.max_steps": "4",  # two for each of its optimisers
            "system.start_editing_step": "0",
        },
        logs=("loss_l1",),
    ),
]
BY_NAME = {case.name: case for case in CASES}


def trained(checkout: Path, case: Case) -> tuple[str, Path]:
    """What training it printed, and its run; see `launch`."""
    config = checkout / "configs" / f"{case.config}.yaml"
    return launch(checkout, config, overrides(checkout, case))


def overrides(checkout: Path, case: Case) -> dict[str, str]:
    """What the command line says, the earlier case's checkpoint among it, made where it is missing."""
    if case.after is None:
        begins = {}
    else:
        earlier, key = case.after
        folder = checkout / "outputs" / earlier / "run"
        if not folder.is_dir():
            trained(checkout, BY_NAME[earlier])
        begins = {f"system.{key}": str(folder / "ckpts" / "last.ckpt")}
    prior = asset("tiny-prior")
    return {
        **SHORT,
        "system.prompt_processor.prompt": "a green car",
        "system.prompt_processor.spawn": "false",
        "system.prompt_processor.pretrained_model_name_or_path": prior,
        "system.guidance.pretrained_model_name_or_path": prior,
        **case.settings,
        **begins,
        **{f"system.{key}": value for key, value in case.guidance.items()},
        "name": case.name,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_system_takes_it_from_the_command_line_alone(checkout: Path, case: Case):
    said, run = trained(checkout, case)
    steps = case.settings.get("trainer.max_steps", SHORT["trainer.max_steps"])
    made = {path.name for path in (run / "save").rglob(f"it{steps}*")}
    pictures = {path.parent.name for path in (run / "save").rglob("*.[pj][pn]g")}
    # some make a video of what they show, and remove its pictures
    assert any(name.startswith(f"it{steps}-") and not name.startswith(f"it{steps}-test") for name in made)
    assert f"it{steps}-test" in pictures or f"it{steps}-test.mp4" in made
    assert {f"train/{name}" for name in case.logs} <= logged(run)
    assert "Loading" in said


def test_a_run_goes_on_and_is_validated_tested_and_exported(checkout: Path):
    case = BY_NAME["dreamfusion-sd-msd-guidance"]
    config, settings = checkout / "configs" / f"{case.config}.yaml", overrides(checkout, case)
    run, settings = checkout / "outputs" / "goes-on" / "run", {**settings, "name": "goes-on"}
    launch(checkout, config, settings)
    settings["resume"] = str(run / "ckpts" / "last.ckpt")
    said, _ = launch(checkout, config, {**settings, "trainer.max_steps": "3"})
    assert "nfe counts from step 2 on" in said
    assert (run / "save" / "it3-test").is_dir()
    for action, made in (("--validate", "it2-0.png"), ("--test", "it2-test/0.png")):
        (run / "save" / made).unlink()
        launch(checkout, config, {**settings, "resume": str(run / "ckpts" / "epoch=0-step=2.ckpt")}, action)
        assert (run / "save" / made).is_file()
    mesh = {
        "system.exporter_type": "mesh-exporter",
        "system.exporter.fmt": "obj",
        "system.exporter.save_texture": "false",
        "system.geometry.isosurface_method": "mc-cpu",
        "system.geometry.isosurface_resolution": "24",
        "system.geometry.isosurface_threshold": "auto",
    }
    launch(checkout, config, {**settings, **mesh}, "--export")
    assert list((run / "save").rglob("*-export/*.obj"))
