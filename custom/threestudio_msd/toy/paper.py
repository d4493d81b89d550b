"""The figures of the paper's Tables 1 to 3 (arXiv 2502.15989), set beside ours."""

from __future__ import annotations

from .problems import TABLE1, TABLE2, TABLE3, Problem


def _by_problem(
    problems: tuple[Problem, ...], rows: dict[str, dict[str, tuple]]
) -> dict[tuple[Problem, str, str], float]:
    return {
        (problem, method, metric): value
        for method, metrics in rows.items()
        for metric, values in metrics.items()
        for problem, value in zip(problems, values, strict=True)
    }


PUBLISHED: dict[tuple[Problem, str, str], float] = {
    **_by_problem(
        TABLE1,
        {
            "DDIM": {
                "nll": (-1.85, -1.51, -1.59, -1.67),
                "precision": (0.97, 0.95, 0.97, 0.96),
                "recall": (0.93, 0.96, 0.44, 0.79),
            },
            "SDS": {
                "nll": (36.15, 9.12, 15.96, 11.33),
                "precision": (0.08, 0.01, 0.17, 0.04),
                "recall": (0.03, 0.00, 0.03, 0.03),
            },
            "VSD": {
                "nll": (9.97, 9.88, 18.97, 11.52),
                "precision": (0.05, 0.10, 0.21, 0.03),
                "recall": (0.02, 0.05, 0.05, 0.03),
            },
            "SDI": {
                "nll": (24.28, -2.87, 27.37, 0.65),
                "precision": (0.27, 0.97, 0.30, 0.51),
                "recall": (0.01, 0.12, 0.48, 0.51),
            },
            "MSD": {
                "nll": (-1.32, -2.02, -1.15, -1.99),
                "precision": (0.92, 0.97, 0.94, 0.97),
                "recall": (0.33, 0.42, 0.40, 0.43),
            },
        },
    ),
    **_by_problem(
        TABLE2,
        {
            "DDIM": {
                "nll": (-1.39, -1.32, -1.19, -1.10),
                "precision": (0.97, 0.96, 0.97, 0.97),
                "recall": (0.93, 0.96, 0.94, 0.97),
            },
            "SDS": {
                "nll": (30.37, 8.13, 2.29, 2.00),
                "precision": (0.02, 0.04, 0.85, 0.90),
                "recall": (0.03, 0.11, 0.03, 0.01),
            },
            "VSD": {
                "nll": (10.15, 8.90, 3.34, 2.28),
                "precision": (0.04, 0.07, 0.65, 0.97),
                "recall": (0.09, 0.14, 0.04, 0.02),
            },
            "SDI": {
                "nll": (35.64, 19.16, 28.31, 17.33),
                "precision": (0.10, 0.12, 0.17, 0.51),
                "recall": (0.90, 0.42, 0.001, 0.15),
            },
            "MSD": {
                "nll": (-1.28, -1.51, -1.94, -2.19),
                "precision": (0.99, 0.98, 0.99, 0.99),
                "recall": (0.18, 0.18, 0.01, 0.13),
            },
        },
    ),
    **_by_problem(
        TABLE3,
        {
            "SDS": {"efficiency": (-7.37, -6.89, -8.48, -7.57, -7.82, -6.99)},
            "VSD": {"efficiency": (-5.92, -3.83, -6.85, -4.45, -6.36, -3.93)},
            "SDI": {"efficiency": (14.18, 14.21, 13.94, 14.17, 14.19, 14.18)},
            "MSD split": {"efficiency": (13.44, 7.65, 13.38, 6.32, 13.76, 7.08)},
        },
    ),
}
