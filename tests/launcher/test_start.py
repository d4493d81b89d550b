"""Wrong settings are answered before anything that takes seconds to import."""

import json
import subprocess
import sys
from pathlib import Path

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
        *("data.fovy_range=[170,190]", "data.n_cameras=25", "system.renderer.num_samples_per_ray=0"),
        *("system.background.color=red", "system.exporter.fmt=stl", "system.loss.lambda_orient=1"),
    ],
}
ANSWER_ALL = f"""
import json, sys
import launch
answers = []
for config, overrides in json.loads(sys.argv[1]).items():
    for override in overrides:
        status = launch.main(["--config", f"configs/{{config}}.yaml", "--train", override])
        answers.append([override, status, [name for name in {HEAVY} if name in sys.modules]])
print(json.dumps(answers))
"""


def test_a_wrong_setting_costs_no_import_of_lightning_and_the_like():
    done = subprocess.run(
        [sys.executable, "-c", ANSWER_ALL, json.dumps(WRONG)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == sum(map(len, WRONG.values()))
    assert [answer for answer in answers if answer[1:] != [2, []]] == []
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(answers)
