"""Reading of an experiment's YAML and overrides."""

import pytest

from launcher.config import folder_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a_car", "a_car"),
        ("../../etc", ".._.._etc"),
        ("a\\b\0c\nd", "a_b_c_d"),
        ("..", "_"),
        ("é" * 100, "é" * 80),
        ("${a}", "_{a}"),
    ],
)
def test_a_prompt_names_one_folder_only(text, name):
    assert folder_name(text) == name
