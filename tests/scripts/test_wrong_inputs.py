"""Every program answers a wrong input in one line on stderr, with status 2, before anything is begun."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

IMAGE, SCENE, MUG = "--config configs/msd-tiny.yaml", "--config configs/msd-nerf-tiny.yaml", "'a red mug'"
SAMPLE = f"{IMAGE} --prompts {MUG} --out OUT"
COMPARE = f"--prompts {MUG} --out OUT --configs configs/msd-tiny.yaml"
ABLATE = f"--prompts {MUG} --out OUT --config configs/msd-tiny.yaml"
COMPARE_3D = f"--prompts {MUG} --out OUT --configs configs/msd-nerf-tiny.yaml"

WRONG = {
    "demo": [
        ("trainer.max_steps=0.5", "trainer.max_steps"),
        (f"{MUG} seed=-1", "seed"),
        ("seed=-1", "seed"),  # a setting alone is no prompt
        (f"{MUG} n_gpus=3", "n_gpus"),
        ("''", "system.prompt_processor.prompt"),
        (f"{MUG} 'another prompt'", "another prompt"),
        ("name=../x", "name"),
    ],
    "demo_3d": [
        (f"{MUG} data.cameras_per_round=0", "cameras_per_round"),
        ("trainer.max_steps=x", "trainer.max_steps"),
    ],
    "sample": [
        (f"{SAMPLE} --scale nan", "--scale"),
        (f"{SAMPLE} --scale 1e300", "--scale"),
        (f"{SAMPLE} --particles 0", "--particles"),
        (f"{SAMPLE} --steps 1000000000", "--steps"),
        (f"{SAMPLE} --seeds 0", "--seeds"),
        (f"{SAMPLE} --first-seed -1", "--first-seed"),
        (f"{SAMPLE} --first-seed 99999999999999999999", "--first-seed"),
        (f"{SAMPLE} --seeds x", "--seeds: expected a whole number from 1 to 10000, got 'x'"),
        (f"{SAMPLE} --nope 3", "unrecognized arguments: --nope"),
        (f"{SAMPLE} system.prompt_processor.prompt=x", "prompt: cannot be set here: --prompts"),
        (f"{SAMPLE} seed=4", "seed: cannot be set here: --first-seed"),
        (f"{SAMPLE} data.n_particles=4", "data.n_particles: cannot be set here: --particles"),
        (f"{SAMPLE} system.guidance.guidance_scale=9", "guidance_scale: cannot be set here: --scale"),
        (f"{SAMPLE} system.guidance.dtype=fp16", "float16"),
        (f"{SAMPLE} seed=-1", "seed"),
        (f"{SAMPLE} foo=1", "foo"),  # no prompt, which --prompts alone has
        (f"{IMAGE} --prompts '' --out OUT", "--prompts"),
        (f"{IMAGE} --prompts pyproject.toml --out OUT", "--prompts: pyproject.toml: expected a list"),
        (f"{IMAGE} --prompts docs/extension-entry.json lib:red_mug --out OUT", "load/prompt_library.json"),
        (f"{IMAGE} --prompts {MUG} --out setup.py", "--out"),
    ],
    "compare": [
        (f"{COMPARE} --jobs 0", "--jobs"),
        (f"{COMPARE} --steps 0", "--steps"),
        (f"{COMPARE} --reference-particles 0", "--reference-particles"),
        (f"{COMPARE} --budget steps=nan", "--budget"),
        (f"{COMPARE} --budget steps=5 nfe=9 steps=5", "--budget: given twice"),
        (f"{COMPARE} --budget steps=1e30", "--budget: expected at most 10,000,000 optimiser steps"),
        (f"{COMPARE} system.guidance.seed=3", "system.guidance.seed=3: a method's settings follow"),
        (f"{COMPARE} --ray ''", "--ray: expected local, auto or HOST:PORT, got ''"),
        (f"{COMPARE} --jobs 99999", "--jobs: expected a whole number from 1 to 10000"),
        (f"{COMPARE} --features judge=", "--features"),
        (f"{COMPARE} --ray 127.0.0.1:1", "--ray 127.0.0.1:1"),
        (f"{COMPARE} --ray nowhere", "--ray"),
        (f"{COMPARE} --jobs 2 --ray local", "--ray: not allowed with argument --jobs"),
        (f"{COMPARE},system.guidance.sampler.steps=0", "MSD: system.guidance.sampler.steps"),
        (f"{COMPARE},foo=1", "MSD: foo"),
        (f"--prompts {MUG} --out OUT --configs ../../x=configs/msd-tiny.yaml", "../../x"),
        (f"--prompts 'a mauve unicorn' --out OUT {COMPARE[COMPARE.index('--configs') :]}", "mauve unicorn"),
        (COMPARE.replace("OUT", "setup.py"), "--out"),
    ],
    "compare_3d": [
        (f"{COMPARE_3D} --seeds 0", "--seeds"),
        (f"{COMPARE_3D} --share inf", "--share"),
        (f"{COMPARE_3D} --results setup.py", "--results: "),
        (f"{COMPARE_3D} --results /proc/x", "--results: /proc/x cannot be written"),
        (f"{COMPARE_3D} --share nan", "--share"),
        (f"{COMPARE_3D} configs/msd-nerf-tiny.yaml", "different names"),
        (f"{COMPARE_3D},system.geometry.radius=0", "system.geometry.radius"),
        (COMPARE_3D.replace("-nerf", ""), "data.n_test_views"),
    ],
    "evaluate": [
        ("nowhere", "nowhere"),
        ("docs --json docs", "--json"),
        ("docs --three-d", "docs"),
        ("docs --three-d --prompt x", "--prompt"),
        ("docs --features foo", "foo"),
        ("docs/images docs/images/demo-path.png --prompt 'a red mug'", "an image lies in two of them"),
        ("docs --prompt ''", "--prompt"),
        ("docs --prompt lib:red_mug", "--prompt: lib:red_mug: there is no prompt library"),
    ],
    "ablate": [
        (f"{ABLATE} --only scale scale", "--only: given twice: scale"),
        (f"{ABLATE} --only scale --title x", "--title: has no effect"),
        (f"{ABLATE} --only scale --budget steps=x", "--budget"),
        (f"{ABLATE} --only scale --nope 3", "unrecognized arguments: --nope"),
        (f"{ABLATE} --only scale --search 2 --search-prompts 'a blue car'", "--only: has no effect"),
        (f"{ABLATE} --search-prompts 'a blue car'", "--search-prompts: has no effect"),
        (f"{ABLATE} configs/msd-tiny.yaml --search 2 --search-prompts 'a blue car'", "different names"),
        (ABLATE.replace("msd", "msd-nerf"), "data.n_particles"),
        (f"{IMAGE} --prompts {MUG} --out OUT --search 1", "--search"),
        (f"--config setup.py --prompts {MUG} --out OUT", "setup.py"),
        (f"--config nowhere.yaml --prompts {MUG} --out OUT", "nowhere.yaml"),
        (f"--config configs/sds-tiny.yaml --prompts {MUG} --out OUT", "msd-guidance"),
    ],
    "variance": [
        (f"{COMPARE} --draws 2", "--draws"),
        (f"{COMPARE} --seeds 1e3", "--seeds"),
        (f"{COMPARE},system.guidance.bandwidth.start=0", "system.guidance.bandwidth.start"),
        (f"{COMPARE} configs/sds-tiny.yaml,foo=3", "SDS: foo"),
        (f"{COMPARE} configs/sds-tiny.yaml,system.guidance_type=mine", "SDS: system.guidance_type"),
    ],
    "table4": [
        ("--dry-run --out OUT --jobs 0", "--jobs"),
        ("--out OUT --budget steps=0", "--budget"),
        ("--out OUT --dry-run --budget steps=x", "--budget"),
        ("--out OUT --model nowhere/at-all --prompts ''", "--prompts"),
    ],
    "doctor": [
        ("--gpu 3", "unrecognized arguments: --gpu"),
    ],
    "pairs": [
        ("--out OUT --every 0", "--every"),
        ("--out OUT --max-steps 0", "--max-steps"),
        ("--out OUT --seed -1", "--seed"),
        ("--out OUT --json docs", "--json"),
        ("--out OUT system.guidance.sampler.steps=0", "system.guidance.sampler.steps"),
        (f"--out OUT {SCENE}", "data.n_particles"),
    ],
    "toy": [("figure1 --seeds 0", "--seeds"), ("figure1 --json docs", "--json"), ("nothing", "nothing")],
    "bench": [("--rounds 0", "--rounds"), ("--threads 99999", "--threads"), ("--json docs", "--json")],
    "train_prior": [
        ("--quick --out OUT --seed -1", "--seed"),
        ("--quick --out setup.py --cache OUT", "setup.py"),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_word_is_one_line_that_names_it(name, load_script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    for words, told in WRONG[name]:
        argv = [word.replace("OUT", str(tmp_path / "out")) for word in shlex.split(words)]
        try:
            status = load_script(name).main(argv)
        except SystemExit as end:  # argparse's own
            status = end.code
        lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert (status, len(lines)) == (2, 1), (words, lines)
        assert told in lines[0], (words, lines)
        assert not [path for path in tmp_path.glob("out/**/*") if path.is_file()], words
