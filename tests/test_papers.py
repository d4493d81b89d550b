from pathlib import Path

import pytest
from threestudio_msd import distillation
from threestudio_msd.papers import THREESTUDIO, Paper

ESTIMATORS = [
    kind
    for kind in vars(distillation).values()
    if isinstance(kind, type) and distillation.Estimator in kind.__mro__[1:]
]


@pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)
def test_every_estimator_names_its_paper(kind):
    assert kind.paper.venue and kind.paper.arxiv
    assert str(kind.paper.year) in kind.paper.key


def test_papers_are_cited_by_keys_of_their_own():
    papers = [THREESTUDIO, *(kind.paper for kind in ESTIMATORS)]
    assert len({paper.key for paper in papers}) == len(papers) == 7


def test_readme_cites_what_the_estimator_does():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert distillation.MSD.paper.bibtex in readme


def test_a_paper_on_one_line():
    one, two = (
        Paper("a", "T", "Euler, L.", 1740, url="https://a.org"),
        Paper("b", "T", "A, B. and C, D.", 1, arxiv="1"),
    )
    assert str(one) == "Euler 1740 (https://a.org)"
    assert str(two) == "A and C 1 (arXiv:1)"
    assert str(distillation.MSD.paper) == "Thamizharasan et al. 2025 (arXiv:2502.15989)"
