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
    ]


def test_prints_where_the_images_are(demo, random_pipeline, capsys, tmp_path):
    prompt = 'a "blue" house: 50%, @night'
    assert demo.main([prompt, *small(random_pipeline)]) == 0
    printed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if line.count(":  "))
    picture = Path(printed["Start, path and result"].strip())
    assert Image.open(picture).width > 300
    folder, files = printed["Images"].split()[0:2]
    assert sorted(path.name for path in Path(folder).iterdir()) == ["0.png", "1.png"]
    assert files == "(2"
    assert Path(printed["Video"].strip()).is_file()
    (trial,) = Path("outputs/demo").iterdir()
    assert trial.name.startswith('a_"blue"_house:_50%')


def test_wrong_setting_ends_with_its_status_and_no_report(demo, random_pipeline, capsys):
    assert demo.main(["a red mug", *small(random_pipeline), "system.guidance.smpler=1"]) == 2
    printed = capsys.readouterr()
    assert "smpler" in printed.err
    assert "Images" not in printed.out
