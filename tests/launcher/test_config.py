"""Reading of an experiment's YAML and overrides."""

from pathlib import Path

import pytest
import threestudio
from threestudio.utils.config import ExperimentConfig, parse_structured

from launcher import UserError
from launcher.config import as_config, read_plain
from launcher.folder import folder_name

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "msd-tiny.yaml")
PROMPT = "system.prompt_processor.prompt"


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


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "a red mug: studio light",
            '"red" mug',
            "[V] red mug",
            "'tis",
            "42",
            "no",
            "null",
            "#1",
            "&a",
            "1e5",
            "~",
        ),
        *(
            "{a: b}",
            "a=b",
            "- x",
            "*a",
            "!x",
            "50 % off",
            "a\\b",
            "${data.width}",
            r"\${x}",
            r"\\${x",
            "車 🚗",
            " a ",
        ),
    ],
)
def test_a_text_of_the_command_line_is_that_text(prompt):
    settings = read_plain(CONFIG, [f"{PROMPT}={prompt}"])
    assert settings["system"]["prompt_processor"]["prompt"] == prompt
    # as the host's classes are given it
    system = parse_structured(ExperimentConfig, as_config(settings)).system
    kind = threestudio.find("msd-image-system")
    processor = threestudio.find("stable-diffusion-prompt-processor")
    block = parse_structured(kind.Config, system).prompt_processor
    assert parse_structured(processor.Config, block).prompt == prompt


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["system.guidance.trainer_max_steps=${trainer.max_steps}"], "trainer_max_steps", 200),
        (
            ["system.guidance.trainer_max_steps=${trainer.max_steps}", "trainer.max_steps=7"],
            "trainer_max_steps",
            7,
        ),
        (
            ["trainer.max_steps=9", "system.guidance.trainer_max_steps=${idiv:${trainer.max_steps},2}"],
            "trainer_max_steps",
            4,
        ),
        (
            ["system.guidance.guidance_scale=[0,'${seed}',2.0,10]", "seed=3"],
            "guidance_scale",
            [0, 3, 2.0, 10],
        ),
        (
            ["system.guidance.bandwidth={start: '${data.width}', end: 1}", "data.width=8"],
            "bandwidth",
            {"start": 8, "end": 1},
        ),
    ],
)
def test_an_override_may_refer_to_another_key(overrides, key, value):
    found = read_plain(CONFIG, overrides)["system"]["guidance"][key]
    assert {**found, **value} == found if isinstance(value, dict) else found == value


@pytest.mark.parametrize(
    "key", ["seed", "system.guidance_type", "system.guidance.trainer_max_steps", "data_type"]
)
def test_a_reference_to_no_key_is_named(key):
    with pytest.raises(UserError, match=r"Interpolation key 'no\.key' not found"):
        read_plain(CONFIG, [key + "=${no.key}"])


@pytest.mark.parametrize("written", ["42", "no", "null", "[V] x", "[a, b]", "1.5"])
def test_a_prompt_in_a_file_that_is_no_text_is_named(tmp_path, written):
    lines = Path(CONFIG).read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("prompt: "))
    lines[at] = f"    prompt: {written}"
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        read_plain(str(tmp_path / "a.yaml"), [])
    assert PROMPT in str(caught.value) or f"line {at + 1}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(255)), "a.yaml, line 1: expected text in UTF-8"),
        ("tag: x\nname: café".encode("latin-1"), "a.yaml, line 2: expected text in UTF-8"),
        (b"", "a.yaml: the file is empty"),
        (b"- a\n- b\n", "a.yaml: expected a mapping of settings, found a list"),
        (b"name: x\ndata: [1\n", "a.yaml, line 3, column 1"),
        (b"name: x\n\tdata: 1\n", "a.yaml, line 2, column 1"),
        (b"name: a\nname: b\n", "a.yaml, line 2, column 1"),
        (b"\x00", "a.yaml"),
        (b"system: {a: *b}\n", "a.yaml, line 1"),
    ],
)
def test_a_file_that_is_no_config_is_named_with_its_line(tmp_path, data, message):
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_plain(str(tmp_path / "a.yaml"), [])
    assert "\n" not in str(caught.value)


def test_a_mark_at_the_beginning_of_a_file_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + Path(CONFIG).read_bytes())
    assert read_plain(str(tmp_path / "a.yaml"), []) == read_plain(CONFIG, [])


@pytest.mark.parametrize("override", ["data.=3", "=3", "data..width=3", "--width=3", "width", "a b=3"])
def test_what_is_no_setting_is_named(override):
    with pytest.raises(UserError, match="expected an override of the form key=value"):
        read_plain(CONFIG, [override])


def test_a_locale_without_the_texts_characters_is_told():
    with pytest.raises(UserError, match=f"{PROMPT}: .* is no text in this locale"):
        read_plain(CONFIG, [f"{PROMPT}=H\udcc3\udca4uschen"])
