"""Comparisons as a whole, with a launcher that takes no time."""

from __future__ import annotations

import json
import re

import pytest
from lab.fakes import BAD, BROKEN, GOOD, MeanColour
from msd_lab.compare.costs import Budget
from msd_lab.compare.methods import Method
from msd_lab.compare.results import Results, from_json
from omegaconf import OmegaConf
from threestudio_msd.errors import UserError


def test_the_better_method_wins_and_a_second_call_runs_nothing(comparison, measured, tmp_path):
    ran = []
    for _ in range(2):
        results = measured(comparison(), ran)
    assert [run.counted for run in ran].count(False) == 8
    assert len(ran) == 12  # what a step costs is counted in two short runs of either method
    good, bad = (results.budgets["steps=8"][label] for label in ("GOOD", "BAD"))
    assert good.figures["frechet_ddim"].mean < 0.1 * bad.figures["frechet_ddim"].mean
    assert len(good.figures["frechet_ddim"].values) == 2
    assert (good.nfe, bad.nfe, good.finished, good.asked) == (32, 16, 4, 4)
    assert [point.step for point in good.curve] == [0, 2, 4, 6, 8]
    # the last point of the path is the result
    assert bad.curve[-1].figures["frechet_ddim"].mean == bad.figures["frechet_ddim"].mean
    assert from_json(Results, json.loads((tmp_path / "results.json").read_text())) == results


def test_a_budget_of_evaluations_gives_every_method_the_steps_it_can_pay_for(comparison, measured):
    table = measured(comparison(budgets=[Budget("nfe", 48)])).budgets["nfe=48"]
    assert {label: (row.steps, row.nfe) for label, row in table.items()} == {
        "GOOD": (12, 48),
        "BAD": (24, 48),
    }


def test_a_run_that_ends_by_itself_costs_what_it_took(comparison, measured):
    early = Method("GOOD early", "good.yaml", ("nfe=4", "ends=40"))
    table = measured(comparison(GOOD, early, budgets=[Budget("nfe", 256)])).budgets["nfe=256"]
    whole, part = table["GOOD"], table["GOOD early"]
    assert [(row.steps, row.taken, row.nfe) for row in (whole, part)] == [(64, 64, 256), (64, 40, 160)]
    assert part.flop == pytest.approx(whole.flop * 40 / 64)


def test_a_failed_run_is_reported_does_not_stop_the_rest_and_is_run_again(comparison, measured, capsys):
    results = measured(comparison(GOOD, BROKEN))
    assert len(results.failed) == 4
    assert "something went wrong" in results.failed[0].error
    assert "failed: BROKEN" in capsys.readouterr().err
    assert set(results.budgets["steps=8"]) == {"GOOD"}
    ran = []
    measured(comparison(GOOD, BROKEN), ran)
    assert {run.method for run in ran} == {BROKEN}


def test_a_method_whose_steps_cannot_be_counted_is_reported_and_the_others_run(comparison, measured):
    told = r"nfe=48: BROKEN: .* could not be counted: .*something went wrong"
    results = measured(comparison(GOOD, BROKEN, budgets=[Budget("nfe", 48)]))
    assert set(results.budgets["nfe=48"]) == {"GOOD"}
    (failure,) = results.failed
    assert re.search(told, failure.error)
    with pytest.raises(UserError, match=told):
        measured(comparison(BROKEN, budgets=[Budget("nfe", 48)]))


def test_few_images_have_dashes_for_figures_not_a_crash(comparison, measured):
    for particles in (1, 4):
        results = measured(comparison(prompts=["a red mug"], seeds=1, particles=particles))
        figures = results.budgets["steps=8"]["GOOD"].figures
        assert str(figures["precision_ddim"].mean) == "nan"
        assert (str(figures["frechet_ddim"].mean) == "nan") == (particles == 1)


def test_further_extractors_have_figures_of_their_own(comparison, measured):
    results = measured(comparison(extractors={"mean": MeanColour(), "again": MeanColour()}))
    figures = results.budgets["steps=8"]["GOOD"].figures
    for name in ("frechet_ddim", "alignment", "diversity"):
        assert figures[f"{name}@again"] == figures[name]
    assert "saturation@again" not in figures


@pytest.mark.parametrize(
    "text", ["steps", "steps=0", "nfe=-3", "calls=2", "steps=1.5", "steps=²", "flop=inf", "flop=nan"]
)
def test_malformed_budgets_are_refused(text):
    with pytest.raises(UserError, match="expected steps=N or nfe=N or flop=N or seconds=N"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("methods", "settings", "told"),
    [
        ((GOOD, BAD), {"seeds": 0}, "--seeds: expected 1 or more"),
        ((GOOD, BAD), {"particles": 0}, "--particles: expected 1 or more"),
        ((GOOD, BAD), {"frames": 0}, "--frames: expected 1 or more"),
        ((GOOD, BAD), {"first_seed": -1}, "--first-seed: expected 0 or more"),
        ((GOOD, BAD), {"first_seed": 999}, "no seed 1000, which references have"),
        ((GOOD, BAD), {"reference_particles": 0}, "--reference-particles: expected 1 or more"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(comparison, methods, settings, told):
    with pytest.raises(UserError, match=told):
        comparison(*methods, **settings)


def sized(width):
    return OmegaConf.create({"data": {"width": width, "height": 8}})


def test_what_would_show_after_the_runs_is_found_before(comparison):
    comparison().check([sized(8), sized(8)])
    with pytest.raises(UserError, match=r"images of one size .* 8, 8 in GOOD and 16, 8 in BAD"):
        comparison().check([sized(8), sized(16)])
    with pytest.raises(UserError, match="unreadable is no prompt"):
        comparison(prompts=["unreadable"]).check([sized(8), sized(8)])
