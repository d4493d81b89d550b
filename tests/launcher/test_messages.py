"""What a run says at its end."""

from pathlib import Path

import pytest
import threestudio
from threestudio_msd.distillation import CSD
from threestudio_msd.papers import THREESTUDIO

import launch
from launcher.messages import papers, results

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_method_is_cited_with_threestudio():
    assert papers({"system": {"guidance_type": "msd-csd-guidance"}}, threestudio) == [CSD.paper, THREESTUDIO]
    assert papers({"system": {}}, threestudio) == [THREESTUDIO]


def test_results_are_named_and_folders_counted(tmp_path):
    for name in (
        "it4-export/model.glb",
        "it8-test/0.png",
        "it8-test/1.png",
        "it8-test.mp4",
        "progress/0.png",
        "path.png",
        "it4-val.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert results(tmp_path) == ["it4-export/model.glb", "it8-test/ (2 files)", "it8-test.mp4", "path.png"]


@pytest.mark.parametrize(
    ("config", "key"), [("msd-tiny", "thamizharasan2025meanshift"), ("vsd-sd", "wang2023")]
)
def test_citations_are_printed_as_bibtex(config, key, capsys):
    assert launch.main(["--config", str(CONFIGS / f"{config}.yaml"), "--citations"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("@misc{") == 2
    assert key in printed and "guo2023threestudio" in printed
