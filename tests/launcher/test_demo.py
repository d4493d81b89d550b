"""What the demos share."""

import os
from pathlib import Path

from launcher.demo import demo_arguments, newest_run


def test_a_prompt_is_taken_as_it_is_and_settings_come_last():
    arguments = demo_arguments("", "msd-tiny", "demo", "a green car", ["a=b: 50%", "name=mine"])
    assert arguments[0] == "--config" and Path(arguments[1]).name == "msd-tiny.yaml"
    assert arguments[2:] == ["name=demo", "system.prompt_processor.prompt=a=b: 50%", "name=mine"]
    assert demo_arguments("", "msd-tiny", "demo", "a green car", [])[-1].endswith("prompt=a green car")


def test_the_newest_run_is_found_where_the_settings_put_it(tmp_path):
    for age, name in enumerate(("new", "old")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        os.utime(tmp_path / "mine" / name, (1000 - age, 1000 - age))
    settings = ["a red mug", f"exp_root_dir={tmp_path}", "name=mine"]
    assert newest_run(demo_arguments("", "msd-nerf-tiny", "demo-3d", "", settings)).name == "new"
