"""Results as JSON and back."""

from __future__ import annotations

import json
from math import nan

from msd_lab.compare.results import About, Failure, Figures, Point, Results, Row, from_json, to_json
from msd_lab.report.table import Spread


def test_results_survive_json():
    figures = {"fd": Spread((1.0, 3.0))}
    row = Row(8, 32.0, 1, 2, figures, (Point(0, 0.0, figures),), "python launch.py", "a: 1\n")
    about = About("judge", 2, 1, (0, 1), ("a red mug",), {"ddim": 16}, "k = 3")
    results = Results(about, figures, {"steps=8": {"MSD": row}}, (Failure("folder", "why"),))
    plain = json.loads(json.dumps(to_json(results), allow_nan=False))
    assert plain["budgets"]["steps=8"]["MSD"]["figures"]["fd"]["mean"] == 2.0
    assert from_json(Results, plain) == results


def test_what_is_unknown_is_null():
    plain = to_json({"fd": Spread((nan, 1.0))})
    assert plain == {"fd": {"mean": None, "std": None, "values": [None, 1.0]}}
    assert str(from_json(Figures, plain)["fd"].values) == "(nan, 1.0)"
