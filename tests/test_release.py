"""What a stranger expects beside the code: citation, changelog, pages whose links lead somewhere."""

import re
from pathlib import Path

import pytest
import threestudio_msd
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PERSON = {"family-names", "given-names", "orcid", "affiliation"}
CFF = {  # keys of the Citation File Format 1.2.0 that the file uses
    *("cff-version", "message", "title", "abstract", "type", "version", "license", "authors", "keywords"),
    "preferred-citation",
}


def test_the_citation_file_has_what_its_format_asks_for():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert set(cff) <= CFF
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    assert (cff["cff-version"], cff["type"]) == ("1.2.0", "software")
    paper = cff["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all(set(author) <= PERSON and author["family-names"] for author in paper["authors"])
    assert all(set(author) == {"name"} for author in cff["authors"])


def test_the_citation_file_is_of_this_version_and_cites_the_papers_authors():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cff["version"] == threestudio_msd.__version__
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for author in cff["preferred-citation"]["authors"]:
        assert author["family-names"].split("á")[0] in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [a or b for a, b in re.findall(r'\]\(([^)#\s]+)[^)]*\)|src="([^"]+)"', text)]
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
