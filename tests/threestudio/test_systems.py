"""threestudio's own configs with this package's guidance, switched by the command line alone.

    THREESTUDIO_ROOT=path/to/threestudio pytest -m threestudio

Trains two steps with a validation after each, and tests, on the tiny prior; THREESTUDIO_LAUNCHER as in
`test_configs.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from threestudio_msd.assets_path import asset

from .checkout import INSIDE, launch, logged

pytestmark = INSIDE

MSD = {
    "guidance_type": "msd-guidance",
    "loss.lambda_msd": "1.0",
    "guidance.trainer_max_steps": "${trainer.max_steps}",
    "guidance.sampler.type": "posterior",
    "guidance.sampler.steps": "2",
}
SDS = {"guidance_type": "msd-sds-guidance"}
SDI = {
    "guidance_type": "msd-sdi-guidance",
    "loss.lambda_sdi": "1.0",
    **{k: MSD[k] for k in ["guidance.trainer_max_steps"]},
}
VSD = {"guidance_type": "msd-vsd-guidance"}

SMALL = {
    "trainer.max_steps": "2",
    "trainer.val_check_interval": "1",
    "trainer.num_sanity_val_steps": "0",
    "checkpoint.every_n_train_steps": "1",
    "data.batch_size": "1",
    "data.eval_batch_size": "1",
    "data.n_val_views": "1",
    "data.n_test_views": "1",
    "data.width": "16",
    "data.height": "16",
    "data.eval_width": "16",
    "data.eval_height": "16",
    "system.renderer.num_samples_per_ray": "8",
}


@pytest.mark.parametrize(
    "config, guidance",
    [
        ("dreamfusion-sd", MSD),
        ("dreamfusion-sd", SDS),
        ("dreamfusion-sd-eff", MSD),
        ("magic3d-coarse-sd", MSD),
        ("prolificdreamer", MSD),
        ("prolificdreamer", VSD),
        ("hifa", MSD),
        ("sjc", MSD),
        ("latentnerf", MSD),
        ("sdi", MSD),
        ("sdi", SDI),
    ],
)
def test_every_system_takes_it_from_the_command_line_alone(checkout: Path, config, guidance):
    prior = asset("tiny-prior")
    settings = {
        **SMALL,
        "system.prompt_processor.prompt": "a green car",
        "system.prompt_processor.spawn": "false",
        "system.prompt_processor.pretrained_model_name_or_path": prior,
        "system.guidance.pretrained_model_name_or_path": prior,
        **{f"system.{key}": value for key, value in guidance.items()},
    }
    name = f"{config}-{guidance['guidance_type']}"
    _, run = launch(checkout, checkout / "configs" / f"{config}.yaml", {**settings, "name": name})
    assert list((run / "save").glob("it2-*.png"))
    assert list((run / "save" / "it2-test").glob("*.png"))
    assert {"train/grad_norm", "train/nfe"} <= logged(run)
