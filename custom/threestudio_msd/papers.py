"""What to cite: every estimator names the paper that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True)
class Paper:
    """A paper as a reference.

    Args:
        key: Its BibTeX key.
        title: Its title, as BibTeX takes it.
        authors: `Surname, Given and Surname, Given ...`, as BibTeX takes it.
        year: When it appeared.
        venue: Where it was published; empty for what was not.
        arxiv: Its arXiv number; empty without one.
        url: Where it is found if not on arXiv.
    """

    key: str
    title: str
    authors: str
    year: int
    venue: str = ""
    arxiv: str = ""
    url: str = ""

    def __str__(self) -> str:
        """Authors, year and number on one line.

        Example:
            >>> str(Paper("a", "T", "Euler, L. and Gauss, C.", 2025, arxiv="2501.00001"))
            'Euler and Gauss 2025 (arXiv:2501.00001)'
        """
        surnames = [author.split(",")[0] for author in self.authors.split(" and ")]
        named = " and ".join(surnames) if len(surnames) < 3 else f"{surnames[0]} et al."
        return f"{named} {self.year} ({f'arXiv:{self.arxiv}' if self.arxiv else self.url})"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {"title": self.title, "author": self.authors, "year": str(self.year), "note": self.venue}
        fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {"url": self.url}
        lines = [
            fill(
                f"{name} = {{{value}}}",
                100,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
            for name, value in fields.items()
            if value
        ]
        return f"@misc{{{self.key},\n" + ",\n".join(lines) + "\n}"


THREESTUDIO = Paper(
    "guo2023threestudio",
    "threestudio: A unified framework for {3D} content generation",
    "Guo, Yuan-Chen and Liu, Ying-Tian and Shao, Ruizhi and Laforte, Christian and Voleti, Vikram and "
    "Luo, Guan and Chen, Chia-Hao and Zou, Zi-Xin and Wang, Chen and Cao, Yan-Pei and Zhang, Song-Hai",
    2023,
    url="https://github.com/threestudio-project/threestudio",
)
