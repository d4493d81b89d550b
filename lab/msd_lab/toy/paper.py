"""The figures of the paper's Tables 1 to 3 (arXiv 2502.15989), set beside ours."""

from __future__ import annotations

from .problems import TABLE1, TABLE2, TABLE3, Problem

METRICS = ("nll", "precision", "recall")

# a method's figures: metric by metric, each in the order of the table's columns
FRACTAL = """
DDIM   -1.85 -1.51 -1.59 -1.67   0.97 0.95 0.97 0.96   0.93 0.96 0.44 0.79
SDS    36.15  9.12 15.96 11.33   0.08 0.01 0.17 0.04   0.03 0.00 0.03 0.03
VSD     9.97  9.88 18.97 11.52   0.05 0.10 0.21 0.03   0.02 0.05 0.05 0.03
SDI    24.28 -2.87 27.37  0.65   0.27 0.97 0.30 0.51   0.01 0.12 0.48 0.51
MSD    -1.32 -2.02 -1.15 -1.99   0.92 0.97 0.94 0.97   0.33 0.42 0.40 0.43
"""
SPIRAL_AND_PINWHEEL = """
DDIM   -1.39 -1.32 -1.19 -1.10   0.97 0.96 0.97 0.97   0.93 0.96 0.94  0.97
SDS    30.37  8.13  2.29  2.00   0.02 0.04 0.85 0.90   0.03 0.11 0.03  0.01
VSD    10.15  8.90  3.34  2.28   0.04 0.07 0.65 0.97   0.09 0.14 0.04  0.02
SDI    35.64 19.16 28.31 17.33   0.10 0.12 0.17 0.51   0.90 0.42 0.001 0.15
MSD    -1.28 -1.51 -1.94 -2.19   0.99 0.98 0.99 0.99   0.18 0.18 0.01  0.13
"""
EFFICIENCY = """
SDS          -7.37 -6.89 -8.48 -7.57 -7.82 -6.99
VSD          -5.92 -3.83 -6.85 -4.45 -6.36 -3.93
SDI          14.18 14.21 13.94 14.17 14.19 14.18
MSD split    13.44  7.65 13.38  6.32 13.76  7.08
"""


def _read(
    text: str, problems: tuple[Problem, ...], metrics: tuple[str, ...]
) -> dict[tuple[Problem, str, str], float]:
    """A table's figures by problem, method and metric."""
    columns = [(problem, metric) for metric in metrics for problem in problems]
    found = {}
    for line in text.strip().splitlines():
        method, *figures = line.rsplit(maxsplit=len(columns))
        for (problem, metric), figure in zip(columns, figures, strict=True):
            found[problem, method, metric] = float(figure)
    return found


PUBLISHED: dict[tuple[Problem, str, str], float] = {
    **_read(FRACTAL, TABLE1, METRICS),
    **_read(SPIRAL_AND_PINWHEEL, TABLE2, METRICS),
    **_read(EFFICIENCY, TABLE3, ("efficiency",)),
}
