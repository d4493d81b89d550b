"""The papers to cite: one for every estimator, and threestudio's."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True)
class Paper:
    """The bibliographic entry of one paper.

    `str(paper)` is one line of authors, year and number, and `paper.bibtex` the BibTeX
    entry.

    Args:
        key: BibTeX key.
        title: In BibTeX's notation.
        authors: In BibTeX's notation, `Surname, Given and Surname, Given ...`.
        year: Year of the first version.
        venue: Journal or conference; empty if unpublished.
        arxiv: arXiv number; empty if it has none.
        url: Address, if it has no arXiv number.
    """

    key: str
    title: str
    authors: str
    year: int
    venue: str = ""
    arxiv: str = ""
    url: str = ""

    def __str__(self) -> str:
        """Format authors, year and number on one line.

        Example:
            >>> str(Paper("a", "T", "Euler, L. and Gauss, C.", 2025, arxiv="2501.00001"))
            'Euler and Gauss 2025 (arXiv:2501.00001)'
        """
        surnames = [author.split(",")[0] for author in self.authors.split(" and ")]
        named = " and ".join(surnames) if len(surnames) < 3 else f"{surnames[0]} et al."
        return f"{named} {self.year} ({f'arXiv:{self.arxiv}' if self.arxiv else self.url})"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry, `@misc{...}`, as text of several lines."""
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


THAMIZHARASAN = Paper(
    "thamizharasan2025meanshift",
    "Mean-Shift Distillation for Diffusion Mode Seeking",
    "Thamizharasan, Vikas and Chatzis, Nikitas and Georgiev, Iliyan and Fisher, Matthew and "
    "Liu, Difan and Zhao, Nanxuan and Kalogerakis, Evangelos and Luk{\\'a}{\\v c}, Michal",
    2025,
    "WACV 2026",
    "2502.15989",
)
POOLE = Paper(
    "poole2023dreamfusion",
    "{DreamFusion}: Text-to-{3D} using {2D} Diffusion",
    "Poole, Ben and Jain, Ajay and Barron, Jonathan T. and Mildenhall, Ben",
    2023,
    "ICLR 2023",
    "2209.14988",
)
WANG = Paper(
    "wang2023prolificdreamer",
    "{ProlificDreamer}: High-Fidelity and Diverse Text-to-{3D} Generation with "
    "Variational Score Distillation",
    "Wang, Zhengyi and Lu, Cheng and Wang, Yikai and Bao, Fan and Li, Chongxuan and Su, Hang and Zhu, Jun",
    2023,
    "NeurIPS 2023",
    "2305.16213",
)
LUKOIANOV = Paper(
    "lukoianov2024score",
    "Score Distillation via Reparametrized {DDIM}",
    "Lukoianov, Artem and S{\\'a}ez de Oc{\\'a}riz Borde, Haitz and Greenewald, Kristjan and "
    "Guizilini, Vitor Campagnolo and Bagautdinov, Timur and Sitzmann, Vincent and Solomon, Justin",
    2024,
    "NeurIPS 2024",
    "2405.15891",
)
YU = Paper(
    "yu2023text",
    "Text-to-{3D} with Classifier Score Distillation",
    "Yu, Xin and Guo, Yuan-Chen and Li, Yangguang and Liang, Ding and Zhang, Song-Hai and Qi, Xiaojuan",
    2023,
    "ICLR 2024",
    "2310.19415",
)
LIANG = Paper(
    "liang2023luciddreamer",
    "{LucidDreamer}: Towards High-Fidelity Text-to-{3D} Generation via Interval Score Matching",
    "Liang, Yixun and Yang, Xin and Lin, Jiantao and Li, Haodong and Xu, Xiaogang and Chen, Yingcong",
    2023,
    "CVPR 2024",
    "2311.11284",
)
THREESTUDIO = Paper(
    "guo2023threestudio",
    "threestudio: A unified framework for {3D} content generation",
    "Guo, Yuan-Chen and Liu, Ying-Tian and Shao, Ruizhi and Laforte, Christian and Voleti, Vikram and "
    "Luo, Guan and Chen, Chia-Hao and Zou, Zi-Xin and Wang, Chen and Cao, Yan-Pei and Zhang, Song-Hai",
    2023,
    url="https://github.com/threestudio-project/threestudio",
)
