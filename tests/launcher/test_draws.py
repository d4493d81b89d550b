"""`--draws`: one sheet without training."""

import re

import pytest
from PIL import Image

import launch

SMALL = ["system.guidance.sampler.steps=2", "use_timestamp=false", "tag=t"]


def rows(out):
    """The figures of every bandwidth, as printed."""
    pattern = r"λ = (\S+), first pull (\S+), deviation (\S+), shift (\S+), (\S+) NFE"
    return [[None if word == "none" else float(word) for word in row] for row in re.findall(pattern, out)]


def draws(capsys, folder, *arguments, config="configs/msd-tiny.yaml"):
    status = launch.main(["--config", config, "--draws", *arguments, f"exp_root_dir={folder}", *SMALL])
    return status, capsys.readouterr()


def test_a_sheet_shows_five_bandwidths_and_what_each_does_to_the_draws(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(launch.__file__.rpartition("/")[0])
    sampler = "system.guidance.sampler={type: %s, steps: 2, kernel_interval: [0.0, 15.0]}"
    found = {}
    for kind in ("exact-score", "split"):
        status, said = draws(capsys, tmp_path / kind, sampler % kind)
        assert status == 0, said.err
        found[kind] = rows(said.out)
        sheet = tmp_path / kind / "msd-tiny" / "t" / "save" / "draws.png"
        assert str(sheet) in said.out and Image.open(sheet).size == (974, 710)
        assert not (tmp_path / kind / "msd-tiny" / "t" / "ckpts").exists()
    for lams in found.values():
        assert [row[0] for row in lams] == pytest.approx([8, 4.76, 2.83, 1.68, 1], abs=0.01)
        assert all(row[4] == 2 * 2 for row in lams)  # steps, times both branches of guidance
        pulls = [row[1] for row in lams]
        assert pulls == sorted(pulls, reverse=True)
    assert found["split"][-1][2] == 0.0  # it forgets its noise
    assert min(row[2] for row in found["exact-score"]) > 0.02


def test_a_picture_to_start_at_and_what_cannot_be_shown(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(launch.__file__.rpartition("/")[0])
    picture = tmp_path / "grey.png"
    Image.new("RGB", (30, 20), "grey").save(picture)
    tweedie = "system.guidance.sampler={type: tweedie}"
    status, said = draws(capsys, tmp_path, "--start", str(picture), tweedie)
    assert status == 0
    assert [row[1:3] for row in rows(said.out)] == [[None, 0.0]] * 5  # the mean itself
    for wrong in (__file__, "none.png"):
        status, said = draws(capsys, tmp_path, "--start", wrong)
        assert status == 2 and f"--start: {wrong} cannot be read as a picture" in said.err
    with pytest.raises(SystemExit):
        launch.main(["--config", "configs/msd-tiny.yaml", "--train", "--start", str(picture)])


def test_other_methods_have_no_draws(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(launch.__file__.rpartition("/")[0])
    arguments = ["--config", "configs/sds-tiny.yaml", "--draws", f"exp_root_dir={tmp_path}"]
    assert launch.main(arguments) == 2
    assert "--draws: expected system.guidance_type msd-guidance" in capsys.readouterr().err
