"""Details: what is in sight is told from the geometry, as an onlooker would."""

from __future__ import annotations

import pytest
import torch
from msd_lab.tinyworld.details import DETAILS, seen_details
from msd_lab.tinyworld.render import Cameras, trace
from msd_lab.tinyworld.shapes import MATERIALS
from msd_lab.tinyworld.world import OBJECTS

FRONT, LEFT, BACK, RIGHT = 0.0, 90.0, 180.0, -90.0


def seen(name: str, azimuth: float, elevation: float = 15.0) -> dict[str, int]:
    cameras = Cameras(*(torch.tensor([x]) for x in (elevation, azimuth, 1.75, 50.0)))
    found = seen_details(name, trace(name, cameras, 64))
    assert found.shape == (1, 2)
    return dict(zip((detail.name for detail in DETAILS[name]), found[0].tolist(), strict=True))


def test_every_object_has_details_of_materials_that_there_are():
    assert tuple(DETAILS) == OBJECTS
    assert {m for pair in DETAILS.values() for detail in pair for m in detail.materials} <= set(MATERIALS)


@pytest.mark.parametrize(
    ("name", "detail", "here", "not_here"),
    [
        ("car", "headlights", FRONT, BACK),
        ("cat", "eyes", FRONT, BACK),
        ("duck", "beak", FRONT, BACK),
        ("fish", "eyes", LEFT, BACK),
        ("house", "door", FRONT, BACK),
        ("mug", "handle", LEFT + 45, RIGHT),
        ("mug", "badge", FRONT, BACK),
        ("robot", "eyes", FRONT, BACK),
        ("robot", "chest panel", FRONT, BACK),
        ("rocket", "porthole", FRONT, BACK),
        ("teapot", "spout", LEFT, BACK),
        ("teapot", "handle", RIGHT, FRONT),
    ],
)
def test_details_are_seen_where_they_are(name, detail, here, not_here):
    assert seen(name, here)[detail] == 1
    assert seen(name, not_here)[detail] <= 0


def test_a_camera_high_above_sees_no_door():
    assert seen("house", FRONT, 69.0)["door"] <= 0
