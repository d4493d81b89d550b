"""`scripts/doctor.py` as a command; its findings are in `launcher/test_doctor.py`."""

from __future__ import annotations


def test_without_a_config_it_looks_at_the_demos(script):
    said = script("doctor")
    assert "[stop]" not in said
    assert said.rstrip().endswith("configs/msd-tiny.yaml will run here")


def test_a_config_that_would_stop_is_named_with_status_2(script):
    said = script("doctor", "--config", "configs/sds-tiny.yaml", "system.guidance.guidance_scal=3", status=2)
    assert "did you mean 'guidance_scale'" in said
    assert said.rstrip().endswith("configs/sds-tiny.yaml does not run here yet: mend what says [stop]")
