"""threestudio's guidance blocks under other methods."""

import pytest
from msd_lab.bench.adoption import METHODS, main, taken_over

CONFIG = """
system:
  guidance_type: stable-diffusion-guidance
  guidance: {guidance_scale: 100.0, weighting_strategy: sds, cond_image_path: "${data.image_path}"}
"""


def test_a_config_is_a_row_of_the_table(tmp_path, capsys):
    (tmp_path / "configs" / "more").mkdir(parents=True)
    (tmp_path / "configs" / "more" / "one.yaml").write_text(CONFIG)
    assert main(str(tmp_path)) == 0
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert row[:3] == ["more/one", "stable-diffusion-guidance", "100.0"]
    assert row[3:5] == [", ".join(METHODS), "msd, vsd, sdi, ism"]
    assert row[5] == "weighting_strategy, cond_image_path"


@pytest.mark.parametrize(
    ("block", "taken"),
    [({"guidance_scale": 7.5}, len(METHODS)), ({"bandwith": 1}, 0), ({"dtype": "int8"}, 0)],
)
def test_what_is_wrong_is_taken_by_none(block, taken, capsys):
    names, warned, _ = taken_over(block)
    assert (len(names.split(", ")) if names else 0, warned) == (taken, "")
    assert bool(capsys.readouterr().err) == (taken == 0)
