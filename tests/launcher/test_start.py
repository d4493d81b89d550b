"""Wrong settings are answered before anything that takes seconds to import."""

import importlib
import sys
from pathlib import Path

from forks import OURS, forked

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pytorch_lightning", "transformers", "diffusers", "scipy", "matplotlib")
WRONG = {
    "msd-tiny": [
        *(
            "sytem.x=1",
            "data.widht=3",
            "data.width=wide",
            "data_type=msd-image-data",
            "seed=x",
            "exp_root_dir=/proc/x",
        ),
        *("system.guidance.sampler.steps=0", "system.guidance.sampler.kernel_interval=[5,1]", "name=../x"),
        *("system.guidance.guidance_scale=lots", "system.geometry.activation=rellu", "resume=none.ckpt"),
        *("system.loss.lambda_msd=abc", "system.loss.lambda_mds=1", "system.prompt_processor.prompt="),
        *("system.guidance.pretrained_model_name_or_path=./none", "system.delay=${no.key}", "delay"),
        *("system_type=msd-imag-system", "system.progress_every=0", "trainer.max_steps=x"),
    ],
    "msd-nerf-tiny": [
        *("data.fovy_range=[170,190]", "data.cameras_per_round=25", "system.renderer.num_samples_per_ray=0"),
        *("system.background.color=red", "system.exporter.fmt=stl", "system.loss.lambda_orient=1"),
    ],
}


def answer_all():
    """Print the answer to each setting, and what has been imported by then."""
    launch = importlib.import_module("launch")
    for config, overrides in WRONG.items():
        for override in overrides:
            status = launch.main(["--config", f"configs/{config}.yaml", "--train", override])
            print("answer:", override, status, [name for name in HEAVY if name in sys.modules])


def test_a_wrong_setting_costs_no_import_of_lightning_and_the_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "custom").symlink_to(ROOT / "custom")
    status, output = forked(answer_all, forgotten=(*OURS, *HEAVY))
    assert status == 0, output
    lines = output.splitlines()
    answers = [line for line in lines if line.startswith("answer: ")]
    assert answers == [f"answer: {override} 2 []" for overrides in WRONG.values() for override in overrides]
    assert len([line for line in lines if line.startswith("error: ")]) == len(answers)
