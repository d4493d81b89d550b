"""The model card's tables: every figure in its place beside its goal, and the card's own words left alone."""

from __future__ import annotations

import pytest
from msd_lab.tinyworld.world import OBJECTS, VIEWS
from msd_lab.training import card


def record(right: float) -> dict:
    return {
        "accuracy": {
            "object": right,
            "colour": 1.0,
            "view": 0.9,
            "details": 0.95,
            "azimuth": 5.04,
            "azimuth_untold": None,
            "elevation": 2.0,
            "renders": 2400,
        },
        "negatives": {"ball": {"nothing": 38, "house": 2}, "noise": {"nothing": 40}},
    }


def read(share: float) -> dict:
    return {"views": dict.fromkeys(VIEWS, share), "objects": dict.fromkeys(OBJECTS, share)}


@pytest.fixture
def figures() -> dict:
    hits = {"object": 0.9, "colour": 0.8, "both": 0.7, "images": 84}
    held_out = hits | {"both": 0.65, "images": 12}
    return {
        "judges": {"a": record(0.99), "b": record(0.985)},
        "pairs": {"5": {"seen": {"a": hits, "b": hits}, "held out": {"a": held_out, "b": held_out}}},
        "views": {
            "true renders": {"a": read(0.91), "b": read(0.92)},
            "w = 5": {"a": read(0.81), "b": read(0.82)},
        },
        "images of views": 384,
        "frechet": {"true renders": {"a": 30.0, "b": 20.0}, "w = 5": {"a": 80.0, "b": 60.0}},
        "details": {
            "true renders": {"a": {"house: door": 1.0}, "b": {"house: door": 0.99}},
            "w = 5": {"a": {"house: door": 0.5}, "b": {"house: door": 0.4}},
        },
        "details asked from": {"house: door": ["front"]},
        "latents": {
            "psnr": 33.25,
            "std": 1.0,
            "largest": 9.0,
            "largest_of_flat_colours": 3.0,
            "largest_of_noise": 4.0,
        },
        "round trips": {"10": 25.0},
    }


def test_every_figure_stands_in_its_row(figures):
    lines = [*card.prior_tables(figures).splitlines(), *card.judge_tables(figures).splitlines()]
    for line in (
        "| 5 | 90.0 % | 90.0 % | 80.0 % | 80.0 % | 70.0 % | 70.0 % | 65.0 % | 65.0 % |",
        "| overhead | 91.0 % | 92.0 % | 81.0 % | 82.0 % | 70 % |",
        "| mug | 91.0 % | 92.0 % | 81.0 % | 82.0 % | 60 % |",
        "| samples, w = 5 | 80.0 | 60.0 | 50.0 | 40.0 |",
        "| autoencoder, fresh renders | 33.2 dB | 33 dB |",
        "| DDIM inversion and back, 10 steps each way | 25.0 dB |  |",
        "| house: door | front | 100 % | 99 % | 50 % | 40 % |",
        "| object right | 99.0 % | 98.5 % | 98 % |",
        "| azimuth, median error | 5.0° | 5.0° | 10° |",
        "| ball | 5.0 % | house 2 | 5.0 % | house 2 |",
        "| noise | 0.0 % | – | 0.0 % | – |",
        "| all | 2.5 % |  | 2.5 % |  |",
    ):
        assert line in lines


def test_all_rows_of_a_table_are_as_long_as_its_head(figures):
    text = f"{card.prior_tables(figures)}\n\n{card.judge_tables(figures)}"
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_a_block_is_replaced_and_the_cards_own_words_are_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Assets\n\n")
    card.fill(path, "prior", "old figures")
    path.write_text(path.read_text() + "\nLimits.\n\n")
    card.fill(path, "judges", "theirs")
    card.fill(path, "prior", "new figures")
    text = path.read_text()
    assert text.startswith(
        "# Assets\n\n<!-- prior: written by scripts/train_prior.py -->\n\nnew figures\n\n<!-- end"
    )
    assert "\n\nLimits.\n\n<!-- judges" in text
    assert "theirs" in text
    assert "old figures" not in text
    card.fill(path, "prior", "new figures")
    assert path.read_text() == text


def test_without_a_card_there_is_only_the_block(tmp_path):
    card.fill(tmp_path / "README.md", "prior", "figures")
    assert (tmp_path / "README.md").read_text().splitlines()[1:-1] == ["", "figures", ""]


def test_details_kept_stand_by_images_and_reader():
    found = {
        "true renders": {
            "judge a": {"both": 0.98, "images": 192},
            "probe": {"both": 0.96, "images": 192},
        },
        "samples": {"judge a": {"both": 0.875, "images": 192}, "probe": {"both": 0.75, "images": 192}},
    }
    text = card.details_kept(found, guidance_scale=3.0)
    assert text.startswith("192 images a row")
    assert "w = 3:" in text
    assert "| true renders | 98.0 % | 96.0 % |" in text.splitlines()
    assert "| samples | 87.5 % | 75.0 % |" in text.splitlines()
