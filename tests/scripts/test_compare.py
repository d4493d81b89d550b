"""The command lines of the comparison, on small random pipelines: real runs, two steps long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = "system.prompt_processor.pretrained_model_name_or_path"


def script(name, *words, status=0, **options):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        **options,
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from evaluation.weights import save_clip

    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


def test_compare_runs_methods_resumes_and_reports_and_its_images_can_be_evaluated(
    random_pipeline, clip, tmp_path
):
    configs = [
        f"configs/msd-tiny.yaml,{MODEL}={random_pipeline},system.guidance.sampler.steps=4,system.guidance.refresh_every=1",
        f"configs/vsd-tiny.yaml,{MODEL}={random_pipeline}",
    ]
    words = [
        "--configs",
        *configs,
        "--prompts",
        "a red mug",
        "--seeds",
        1,
        "--particles",
        5,
        "--budget",
        "steps=2",
    ]
    settings = [
        "--features",
        "clip",
        "--weights",
        clip,
        "--reference-particles",
        5,
        "--steps",
        2,
        "--jobs",
        1,
        "--frames",
        2,
    ]
    text = script("compare.py", *words, *settings, "--out", tmp_path / "out")
    assert "| MSD | 2 | 16 |" in text  # four sampler steps of two branches
    assert "| VSD | 2 | 8 |" in text  # two branches, phi, and phi's training
    first = json.loads((tmp_path / "out/results.json").read_text())
    assert first["failed"] == []
    assert len(first["budgets"]["steps=2"]["MSD"]["curves"]) == 3
    assert (tmp_path / "out/index.html").stat().st_size > 10_000
    done = sorted((tmp_path / "out").glob("runs/**/done.json"))
    times = [path.stat().st_mtime_ns for path in done]
    script("compare.py", *words, *settings, "--out", tmp_path / "out")
    assert [path.stat().st_mtime_ns for path in done] == times
    assert json.loads((tmp_path / "out/results.json").read_text()) == first

    folders = [tmp_path / "out/runs/MSD", "--reference", tmp_path / "out/references/ddim"]
    text = script(
        "evaluate.py", *folders, "--features", "clip", "--weights", clip, "--json", tmp_path / "figures.json"
    )
    again = json.loads((tmp_path / "figures.json").read_text())["figures"]
    ours = first["budgets"]["steps=2"]["MSD"]["figures"]
    assert again["frechet_reference"]["mean"] == pytest.approx(ours["frechet_ddim"]["mean"], rel=1e-6)
    assert again["clip_similarity"]["mean"] == pytest.approx(ours["clip_similarity"]["mean"], rel=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--configs", "configs/none.yaml", "--prompts", "a"], "no such file: configs/none.yaml"),
        (
            ["--configs", "configs/msd-tiny.yaml", "--prompts", "a", "--budget", "hours=2"],
            "expected steps=N or calls=N",
        ),
        (["--configs", "configs/msd-tiny.yaml", "--prompts", "missing.txt"], "no such file: missing.txt"),
    ],
)
def test_bad_input_is_one_clear_error(words, message, tmp_path):
    text = script("compare.py", *words, "--out", tmp_path, status=2)
    assert f"{message}" in text
    assert "Traceback" not in text


def test_evaluate_says_what_it_looked_for(tmp_path):
    assert "error: features clip" in script(
        "evaluate.py", tmp_path, "--features", "clip", "--weights", tmp_path, status=2
    )


def test_sample_keeps_what_is_there_and_names_what_it_needs(random_pipeline, tmp_path):
    words = [
        "--config",
        "configs/msd-tiny.yaml",
        "--prompts",
        "a red mug",
        "--steps",
        2,
        "--particles",
        2,
        "--out",
        tmp_path,
    ]
    model = f"{MODEL}={random_pipeline}"
    assert "2 images" in script("sample.py", *words, model)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/*.png")}
    assert "4 images" in script("sample.py", *words, model, "--seeds", 2)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert "error: " in script("sample.py", *words, f"{MODEL}={tmp_path}", status=2)


def test_variants_of_an_ablation_are_configs_of_their_own(tmp_path):
    from omegaconf import OmegaConf

    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import ablate
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    from threestudio_msd.distillation import SAMPLERS, SCHEDULES
    from threestudio_msd.guidance.parts import build_part

    for group in ablate.GROUPS:
        words = ablate.write_variants(str(ROOT / "configs/msd-tiny.yaml"), group, tmp_path / group)
        assert len(words) == len(ablate.GROUPS[group]) >= 2
        variants = [OmegaConf.load(word.partition("=")[2]) for word in words]
        guidances = [OmegaConf.to_container(variant.system.guidance, resolve=False) for variant in variants]
        assert all(guidances.count(guidance) == 1 for guidance in guidances)
        for guidance in guidances:
            build_part(SAMPLERS, guidance["sampler"], "sampler")
            build_part(SCHEDULES, guidance["bandwidth"], "bandwidth")
