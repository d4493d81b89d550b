"""Settings of optimisers whose name was overridden."""

import pytest

from launcher.checks.optimizer import drop_foreign_arguments
from launcher.config import read_plain


def test_a_changed_name_drops_the_arguments_that_it_does_not_have(pytestconfig):
    config = str(pytestconfig.rootpath / "configs" / "msd-tiny.yaml")
    before = read_plain(config, [])["system"]["optimizer"]["args"]
    after = read_plain(config, ["system.optimizer.name=SGD"])["system"]["optimizer"]["args"]
    assert "eps" in before
    assert after == {name: value for name, value in before.items() if name in ("lr", "weight_decay")}


def test_misspelt_arguments_stay_to_be_refused():
    settings = {"name": "SGD", "args": {"lr": 1, "epss": 1}, "params": {"geometry": {"eps": 1, "lr": 2}}}
    assert drop_foreign_arguments(settings) == ["eps"]
    assert settings == {"name": "SGD", "args": {"lr": 1, "epss": 1}, "params": {"geometry": {"lr": 2}}}


@pytest.mark.parametrize("odd", [None, 3, {}, {"name": "AdmW"}, {"name": "SGD", "args": 3, "params": None}])
def test_odd_settings_are_left_to_the_checks(odd):
    assert drop_foreign_arguments(odd) == []
