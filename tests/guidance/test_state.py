"""The state of a guidance in checkpoints: it says whose it is, and another method takes the count alone."""

from __future__ import annotations

import pytest
import threestudio

from launcher import UserError
from launcher.resume import _require_same_method


def made(kind, folder):
    cfg = {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 9}
    return threestudio.find(f"{kind}-guidance")(cfg)


@pytest.mark.parametrize("name", ["msd-guidance", "msd-sds-guidance", "msd-ism-guidance"])
def test_another_methods_state_is_refused_and_its_own_is_not(name):
    cls = threestudio.find(name)
    cls.check_state({"name": cls.name, "nfe": 2.0})
    with pytest.raises(UserError, match=f"^was made with vsd-guidance, not {cls.name}-guidance$"):
        cls.check_state({"name": "vsd", "nfe": 2.0})


def test_states_without_a_name_are_told_by_what_they_hold():
    threestudio.find("msd-guidance").check_state({"nfe": 2.0, "kept": {}, "states": {}})
    with pytest.raises(UserError, match="was made with msd-guidance"):
        threestudio.find("msd-sds-guidance").check_state({"nfe": 2.0, "kept": {}, "states": {}})


def test_the_count_goes_on_from_another_methods_state(random_pipeline):
    g = made("msd", random_pipeline)
    g.load_checkpoint_state({"name": "sds", "nfe": 3.0})
    assert (g.nfe, g.targets.entries) == (3.0, {})


def test_the_launcher_names_key_and_file():
    checkpoint, settings = (
        {"guidance": {"nfe": 1, "kept": {}}},
        {"system": {"guidance_type": "msd-sds-guidance"}},
    )
    told = r"^system\.guidance_type: x\.ckpt was made with msd-guidance, not sds-guidance; add --changed"
    with pytest.raises(UserError, match=told):
        _require_same_method("x.ckpt", checkpoint, settings)
