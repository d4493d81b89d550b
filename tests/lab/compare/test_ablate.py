"""The search for settings."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
from msd_lab.compare.ablate import FIGURE, SPACE, best, read_rows, require_apart, space, trials
from msd_lab.compare.methods import Method
from msd_lab.compare.results import About, Results, Row, to_json
from msd_lab.report.table import Spread
from threestudio_msd.errors import UserError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SDS = Method("SDS", str(CONFIGS / "sds-tiny.yaml"), ("data.width=32",))
MSD = Method("MSD", str(CONFIGS / "msd-tiny.yaml"))


def row(value):
    return Row(8, 32.0, 1, 1, {FIGURE: Spread((value,))}, ())


def test_every_method_has_the_same_trials_within_the_bounds_and_its_own_settings_among_them():
    ours, theirs = trials(MSD, 8), trials(SDS, 8)
    shared = [[word for word in trial.overrides if word.partition("=")[0] in SPACE] for trial in ours]
    assert shared == [
        [word for word in trial.overrides if word.partition("=")[0] in SPACE] for trial in theirs
    ]
    assert ours[0].overrides == ()
    assert len({trial.overrides for trial in ours}) == len({trial.label for trial in ours}) == 8
    for method, own in ((MSD, ours), (SDS, [replace(one, overrides=one.overrides[1:]) for one in theirs])):
        for trial in own[1:]:
            settings = {key: float(value) for key, value in (word.split("=") for word in trial.overrides)}
            bounds = space(method)
            assert settings.keys() == bounds.keys()
            assert len(bounds) == 3
            assert all(low < settings[key] < high for key, (low, high) in bounds.items())


def test_the_best_trial_gives_the_settings_and_unknown_ones_none():
    tried = trials(SDS, 4)
    table = {tried[0].label: row(9.0), tried[1].label: row(nan), tried[2].label: row(4.0)}
    ddim = {FIGURE: Spread((2.0,))}
    found = best(SDS, tried, table, ddim)
    assert (found.label, found.overrides) == ("SDS", tried[2].overrides)
    with pytest.raises(UserError, match="SDS: no trial was finished"):
        best(SDS, tried, {tried[1].label: row(nan)}, ddim)


def test_every_extractor_counts_alike_for_the_best():
    tried, other = trials(SDS, 2), f"{FIGURE}@second-judge"
    values = [(10.0, 100.0), (11.0, 20.0)]  # the first one is a little better by the first judge alone
    table = {
        trial.label: Row(8, 32.0, 1, 1, {FIGURE: Spread((a,)), other: Spread((b,))}, ())
        for trial, (a, b) in zip(tried, values, strict=True)
    }
    ddim = {FIGURE: Spread((5.0,)), other: Spread((10.0,))}
    assert best(SDS, tried, table, ddim).overrides == tried[1].overrides


def test_a_search_of_one_and_prompts_that_are_not_apart_are_refused():
    with pytest.raises(UserError, match="--search: expected 2 or more"):
        trials(SDS, 1)
    with pytest.raises(UserError, match="'a red mug' is among --prompts too"):
        require_apart(["a red mug"], ["a blue car", "a red mug"])
    require_apart(["a red mug"], ["a blue car"])


def test_the_table_is_read_from_what_a_comparison_wrote(tmp_path):
    about = About("judge", 2, 1, (0,), ("a red mug",), {"ddim": 16})
    results = Results(about, {}, {"steps=8": {"SDS 0": row(4.0)}})
    (tmp_path / "results.json").write_text(json.dumps(to_json(results)))
    table, ddim = read_rows(tmp_path / "results.json")
    assert ddim == {}
    assert table["SDS 0"].figures[FIGURE].mean == 4.0
