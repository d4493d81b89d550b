"""The command lines of the comparison, on small random pipelines: real runs, two steps long."""

from __future__ import annotations

import json

import pytest

MODEL = "system.prompt_processor.pretrained_model_name_or_path"
SIZES = ",".join(f"data.{name}=16" for name in ("width", "height", "eval_width", "eval_height"))


@pytest.fixture(params=["here", pytest.param("processes", marks=pytest.mark.slow)])
def _executor(request):
    """Where runs are run."""
    if request.param == "here":
        request.getfixturevalue("runs_here")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from msd_lab.bench.random_pipelines import save_random_clip

    folder = tmp_path_factory.mktemp("clip") / "clip"
    save_random_clip(folder)
    return str(folder)


def test_compare_runs_methods_resumes_and_reports_and_its_images_can_be_evaluated(
    script, random_pipeline, clip, tmp_path, monkeypatch, _executor
):
    monkeypatch.setattr("msd_lab.compare.costs.PROBES", (1, 2))
    configs = [
        f"configs/msd-tiny.yaml,{MODEL}={random_pipeline},{SIZES},system.guidance.sampler.steps=4,system.guidance.refresh_every=1",
        f"configs/vsd-tiny.yaml,{MODEL}={random_pipeline},{SIZES}",
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
        f"clip={clip}",
        "--reference-particles",
        5,
        "--steps",
        2,
        "--jobs",
        1,
        "--frames",
        2,
    ]
    text = script("compare", *words, *settings, "--out", tmp_path / "out")
    assert "| MSD | 2 | 16 |" in text  # four sampler steps of two branches
    assert "| VSD | 2 | 8 |" in text  # two branches, phi, and phi's training
    first = json.loads((tmp_path / "out/results.json").read_text())
    assert first["failed"] == []
    assert len(first["budgets"]["steps=2"]["MSD"]["curve"]) == 3
    assert (tmp_path / "out/index.html").stat().st_size > 10_000
    done = sorted((tmp_path / "out").glob("runs/**/done.json"))
    times = [path.stat().st_mtime_ns for path in done]
    script("compare", *words, *settings, "--out", tmp_path / "out")
    assert [path.stat().st_mtime_ns for path in done] == times
    assert json.loads((tmp_path / "out/results.json").read_text()) == first

    folders = [tmp_path / "out/runs/MSD/2", "--reference", tmp_path / "out/references/ddim"]
    text = script("evaluate", *folders, "--features", f"clip={clip}", "--json", tmp_path / "figures.json")
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
            "expected steps=N or nfe=N",
        ),
        (["--configs", "configs/msd-tiny.yaml", "--prompts", "missing.txt"], "no such file: missing.txt"),
    ],
)
def test_bad_input_is_one_clear_error(script, words, message, tmp_path):
    text = script("compare", *words, "--out", tmp_path, status=2)
    assert f"{message}" in text
    assert text.count("\n") == 1
