"""The tokenizer: known words are single tokens, and any string tokenises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msd_lab.tinyworld.world import COLOURS, OBJECTS
from msd_lab.training.tokens import FILLERS, LENGTH, learn_merges, save_tokenizer
from transformers import AutoTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    made = save_tokenizer(folder)
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.get_vocab() == made.get_vocab()
    return loaded


def test_byte_symbols_are_one_for_each_byte(tokenizer):
    symbols = [symbol for symbol in tokenizer.get_vocab() if len(symbol) == 1]
    assert len(symbols) == 256


def test_merges_make_every_word_one_token():
    merges = learn_merges(["airplane", "chair", "hair"])
    assert "chair</w>" in {"".join(pair) for pair in merges}


@pytest.mark.parametrize(
    "word", [*OBJECTS, *COLOURS, *(w for w in FILLERS if w.isalpha()), "overhead", "view"]
)
def test_known_words_are_single_tokens(tokenizer, word):
    assert len(tokenizer(word).input_ids) == 3


def test_captions_fit_with_room_to_spare(tokenizer):
    ids = tokenizer("a DSLR photo of a purple airplane, overhead view").input_ids
    assert len(ids) == 12
    assert tokenizer.model_max_length == LENGTH > len(ids)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_string_tokenises(tokenizer, text):
    ids = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    assert len(ids) == LENGTH
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id in ids
    assert max(ids) < len(tokenizer)
