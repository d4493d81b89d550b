"""Names, captions and prompts of the tiny world."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from msd_lab.tinyworld.world import (
    COLOURS,
    HELD_OUT,
    OBJECTS,
    VIEWS,
    Caption,
    all_pairs,
    held_out_pairs,
    parse_prompt,
    seen_pairs,
    view_name,
)
from threestudio_msd.assets_path import TINY_PRIOR, asset
from threestudio_msd.vocabulary import unknown_prompt


def test_world_is_as_large_as_promised():
    assert len(OBJECTS) >= 12
    assert len(COLOURS) == 8
    assert len(set(all_pairs())) == len(OBJECTS) * len(COLOURS)


def test_held_out_pairs_leave_every_object_and_colour_well_seen():
    assert sorted(seen_pairs() + held_out_pairs()) == sorted(all_pairs())
    assert len(HELD_OUT) == 12
    objects, colours = (Counter(names) for names in zip(*seen_pairs(), strict=True))
    assert min(objects.values()) >= 7
    assert set(objects) == set(OBJECTS)
    assert min(colours.values()) >= 9
    assert set(colours) == set(COLOURS)


@pytest.mark.parametrize("view", [None, *VIEWS])
@pytest.mark.parametrize("pair", [("mug", "red"), ("airplane", "orange")])
def test_captions_parse_back(pair, view):
    caption = Caption(*pair, view)
    assert parse_prompt(caption.text) == caption


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a DSLR photo of a blue house, front view", Caption("house", "blue", "front")),
        ("backside view of A Red MUG", Caption("mug", "red", "back")),
        ("pink robot!", Caption("robot", "pink")),
    ],
)
def test_prompts_around_a_caption(prompt, expected):
    assert parse_prompt(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a purple zebra", "names no object"),
        ("a mug", "names no colour"),
        ("a red mug and a red car", "names 2 objects"),
        ("a red blue car", "names 2 colours"),
        ("a gren car", "did you mean 'green'"),
        ("a red tea-pott", "names no object"),
        ("a red airplan", "did you mean 'airplane'"),
    ],
)
def test_prompts_outside_are_told_what_the_world_holds(prompt, told):
    with pytest.raises(ValueError, match=told) as error:
        parse_prompt(prompt)
    for name in (*OBJECTS, *COLOURS):
        assert name in str(error.value)
    warning = unknown_prompt(prompt, asset(TINY_PRIOR))
    assert warning is not None
    assert "\n" not in warning
    assert told in warning


@pytest.mark.parametrize("prompt", ["a red mug", "a red mug, side view", "", "a DSLR photo of a blue house"])
def test_prompts_inside_are_not_warned_about(prompt):
    assert unknown_prompt(prompt, asset(TINY_PRIOR)) is None


@pytest.mark.parametrize(
    ("elevation", "azimuth", "expected"),
    [
        (0, 0, "front"),
        (0, 44, "front"),
        (0, -44, "front"),
        (0, 46, "side"),
        (0, -134, "side"),
        (0, 136, "back"),
        (0, -136, "back"),
        (0, 180, "back"),
        (0, 360, "front"),
        (59, 90, "side"),
        (61, 0, "overhead"),
    ],
)
def test_views_follow_threestudios_thresholds(elevation, azimuth, expected):
    assert view_name(elevation, azimuth) == expected


def test_the_prior_ships_the_words_of_the_world():
    words = json.loads(Path(asset(TINY_PRIOR), "vocabulary.json").read_text(encoding="utf-8"))
    assert words == {"object": list(OBJECTS), "colour": list(COLOURS)}


def test_a_prior_without_a_vocabulary_knows_every_prompt(tmp_path):
    assert unknown_prompt("a purple zebra", str(tmp_path)) is None
