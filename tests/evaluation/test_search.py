"""The search for settings."""

from __future__ import annotations

import json
from math import nan

import pytest
from threestudio_msd.errors import UserError
from threestudio_msd.evaluation.grid import Method
from threestudio_msd.evaluation.metrics import Spread
from threestudio_msd.evaluation.results import About, Results, Row, to_json
from threestudio_msd.evaluation.search import FIGURE, SPACE, best, read_table, require_apart, trials

SDS, MSD = Method("SDS", "sds.yaml", ("data.width=32",)), Method("MSD", "msd.yaml")


def row(value):
    return Row(8, 32.0, 1, 1, {FIGURE: Spread((value,))}, ())


def test_every_method_has_the_same_trials_within_the_bounds_and_its_own_settings_among_them():
    ours, theirs = trials(MSD, 8), trials(SDS, 8)
    assert [trial.overrides for trial in ours] == [trial.overrides[1:] for trial in theirs]
    assert ours[0].overrides == ()
    assert len({trial.overrides for trial in ours}) == len({trial.label for trial in ours}) == 8
    for trial in ours[1:]:
        settings = dict(setting.split("=") for setting in trial.overrides)
        assert all(low < float(settings[key]) < high for key, (low, high) in SPACE.items())


def test_the_best_trial_gives_the_settings_and_unknown_ones_none():
    tried = trials(SDS, 4)
    table = {tried[0].label: row(9.0), tried[1].label: row(nan), tried[2].label: row(4.0)}
    found = best(SDS, tried, table)
    assert (found.label, found.overrides) == ("SDS", tried[2].overrides)
    with pytest.raises(UserError, match="SDS: no trial was finished"):
        best(SDS, tried, {tried[1].label: row(nan)})


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
    assert read_table(tmp_path / "results.json")["SDS 0"].figures[FIGURE].mean == 4.0
