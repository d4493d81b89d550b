"""Lists of prompts as the field's data sets have them, and prompts of threestudio's library."""

import json

import pytest

from launcher import UserError
from launcher.config import read_plain
from launcher.prompts import LIBRARY, from_library, prompts_of

from .dummy import CONFIG, error, only_dummy, run

DOGS = ["a dog", "a red dog"]
LISTS = {
    "a list": DOGS,
    "threestudio's library": {"dreamfusion": DOGS},
    "several blocks": {"anime": DOGS[:1], "photo": {"more": DOGS[1:]}},
    "a block beside its name": {"name": "dogs", "n": 2, "prompts": DOGS},
    "pairs of prompt and image": [{"prompt": dog, "image": "dog.png", "id": 3} for dog in DOGS],
    "COCO's captions": {"annotations": [{"image_id": 7, "caption": dog} for dog in DOGS]},
    "pairs as lists": [["1.png", DOGS[0]], [DOGS[1], "2.JPG"]],
    "prompts by image": {"1.png": DOGS[0], "2.png": DOGS[1]},
    "images by prompt": {DOGS[0]: "1.png", DOGS[1]: "2.png"},
    "prompts by number": {"0": DOGS[0], "1": DOGS[1]},
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    only_dummy(monkeypatch, tmp_path)


def library(text):
    """Writes the prompt library."""
    LIBRARY.parent.mkdir(exist_ok=True)
    LIBRARY.write_text(text)


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_the_field_are_read(kind, tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(LISTS[kind]))
    assert prompts_of(path, "--prompts") == DOGS


def test_json_lines_are_read(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a dog", "image": "1.png"}\r\n\r\n["a red dog"]\r\n')
    assert prompts_of(path, "--prompts") == DOGS


@pytest.mark.parametrize(
    "text", ["", "[", "3", '"a dog"', "[3]", "null", '{"a": 3}', "NaN", "[" * 5000, "[[null]]"]
)
def test_what_is_no_list_is_one_line(text, tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"^--prompts: \S*prompts\.json is no JSON list of prompts: "):
        prompts_of(path, "--prompts")


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "3", "{}", "[1, 2]", '{"dreamfusion": [3]}', '{"dreamfusion": 3}', "null"]
)
def test_a_library_of_another_form_is_one_line(text, capfd):
    library(text)
    assert run("tag=t", "system.prompt_processor.prompt=lib:red") == 2
    told = "lib:red: load/prompt_library.json is no JSON of the form"
    assert error(capfd).startswith(f"error: system.prompt_processor.prompt: {told}")


def test_a_prompt_of_the_library_is_what_everything_sees():
    library('{"dreamfusion": ["a red mug, ${not} a key", "a blue mug"]}')
    settings = read_plain(CONFIG, ["tag=t", "system.prompt_processor.prompt=lib:red_mug"])
    assert settings["system"]["prompt_processor"]["prompt"] == "a red mug, ${not} a key"
    assert from_library("a lib:red_mug") == "a lib:red_mug"
    for words, count in (("lib:mug", 2), ("lib:green", 0)):
        with pytest.raises(
            UserError, match=f"--prompts: {words}: {count} prompts of load/prompt_library.json"
        ):
            from_library(words, "--prompts")


def test_without_a_library_its_path_is_told():
    with pytest.raises(UserError, match=f"there is no prompt library at {LIBRARY}$"):
        from_library("lib:red")
