"""`scripts/demo.py` from the prompt to the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def demo(load_script, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return load_script("demo")


def small(pipeline):
    return [
        f"system.prompt_processor.pretrained_model_name_or_path={pipeline}",
        "data.n_particles=2",
        "data.height=16",
        "data.width=16",
        "trainer.max_steps=3",
        "system.guidance.sampler.steps=1",
        "system.guidance.sampler.kernel_interval=[0.3,20]",
    ]


def test_says_where_the_images_are_and_what_to_cite(demo, random_pipeline, capsys):
    prompt = 'a "blue" house: 50%, @night'
    assert demo.main([prompt, *small(random_pipeline)]) == 0
    printed = capsys.readouterr().out
    (folder,) = Path("outputs/demo").glob("*/save")
    assert folder.parent.name.startswith('a_"blue"_house:_50%')
    assert f"Results: {folder}/\n  it3-test/ (2 files)\n  it3-test.mp4\n  path.png\n" in printed
    assert Image.open(folder / "path.png").width > 300
    assert (
        "To cite (BibTeX: --citations): Thamizharasan et al. 2025 (arXiv:2502.15989); Guo et al. 2023"
        in printed
    )


def test_its_name_and_folder_can_be_set(demo, random_pipeline, capsys):
    assert demo.main(["a red mug", *small(random_pipeline), "name=mine", "exp_root_dir=there"]) == 0
    assert "Results: there/mine/a_red_mug@" in capsys.readouterr().out


def test_wrong_setting_ends_with_its_status_and_no_report(demo, random_pipeline, capsys):
    assert demo.main(["a red mug", *small(random_pipeline), "system.guidance.smpler=1"]) == 2
    printed = capsys.readouterr()
    assert "smpler" in printed.err
    assert "Results" not in printed.out


def test_a_prompt_is_taken_as_it_is_and_settings_come_last(demo):
    arguments = demo.demo_arguments("", "msd-tiny", "demo", "a green car", ["a=b: 50%", "name=mine"])
    assert arguments[0] == "--config" and Path(arguments[1]).name == "msd-tiny.yaml"
    assert arguments[2:] == ["name=demo", "system.prompt_processor.prompt=a=b: 50%", "name=mine"]
    assert demo.demo_arguments("", "msd-tiny", "demo", "a green car", [])[-1].endswith("prompt=a green car")
