"""Prompts from words and files."""

from __future__ import annotations

import pytest
from msd_lab.compare.prompts import read_prompts
from threestudio_msd.errors import UserError


def test_prompts_from_words_and_files(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# comment\na red mug\n\na blue car\n")
    assert read_prompts([str(file), "a=cat"]) == ["a red mug", "a blue car", "a=cat"]


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbfa red mug\r\n")
    assert read_prompts([str(file)]) == ["a red mug"]


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "none given"), ([" "], "empty one"), (["a", "a"], "twice: a"), (["missing.txt"], "no such file")],
)
def test_prompts_that_are_none_are_refused(words, told):
    with pytest.raises(UserError, match=told):
        read_prompts(words)


def test_a_file_in_another_encoding_is_named(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes("ein schöner Becher".encode("latin-1"))
    with pytest.raises(UserError, match=r"list\.txt is no text in UTF-8"):
        read_prompts([str(file)])


def test_lists_and_the_library_are_read_as_prompts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load").mkdir()
    (tmp_path / "load/prompt_library.json").write_text('{"dreamfusion": ["a red mug", "a blue mug"]}')
    (tmp_path / "list.json").write_text('[{"prompt": "a green car", "image": "1.png"}]')
    assert read_prompts(["list.json", "lib:red_mug", "a cat."]) == ["a green car", "a red mug", "a cat."]
    (tmp_path / "list.csv").write_text("prompt\na dog\n")
    with pytest.raises(UserError, match=r"list\.csv: expected a list of prompts, \.txt, \.json, \.jsonl"):
        read_prompts(["list.csv"])
