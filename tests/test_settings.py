"""Parts from a config's blocks."""

from __future__ import annotations

import pytest
from threestudio_msd.distillation import SAMPLERS, SCHEDULES
from threestudio_msd.fields import FieldError
from threestudio_msd.settings import as_tuple, build_part

KINDS = {"sampler": SAMPLERS, "bandwidth": SCHEDULES}


def test_a_block_names_its_type_and_settings():
    sampler = build_part(SAMPLERS, {"type": "split", "steps": 2, "kernel_interval": [0.3, 5.0]}, "sampler")
    assert (type(sampler), sampler.steps, sampler.kernel_interval) == (SAMPLERS["split"], 2, (0.3, 5.0))


def test_lists_become_tuples_and_words_stay():
    assert [as_tuple(value) for value in ([1, 2], "ab", 3)] == [(1, 2), "ab", 3]


@pytest.mark.parametrize(
    ("what", "spec", "message"),
    [
        ("sampler", {"type": "posteriro"}, "did you mean 'posterior'"),
        ("sampler", {"type": "posterior", "step": 3}, "did you mean 'steps'"),
        ("sampler", {"steps": 3}, r"^sampler\.type: expected one of split, .*, got none"),
        ("sampler", {"type": "tweedie", "stepz": 3}, r"^sampler\.stepz: unknown key; known: start"),
        ("bandwidth", {"type": "linear", "start": 1.0}, r"^bandwidth\.end: no value is given"),
        *(
            (what, spec, f"^{what}: expected a mapping")
            for what in KINDS
            for spec in (3, None, "split", [1, 2])
        ),
    ],
)
def test_wrong_blocks_are_refused_by_name(what, spec, message):
    with pytest.raises(FieldError, match=message):
        build_part(KINDS[what], spec, what)
