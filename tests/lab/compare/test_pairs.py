"""Accuracy over pairs, on true renders."""

from __future__ import annotations

import io
from functools import partial

import pytest
from lab.fakes import BAD, BROKEN, CONFIG, grey_samples, one_by_one
from msd_lab.compare import pairs
from msd_lab.compare.engine import compare
from msd_lab.compare.pairs import PairComparison, Share, accuracy, as_table, own_accuracy, prompts
from msd_lab.measure.images import write_samples
from msd_lab.measure.references import Sampling
from msd_lab.tinyworld.judge import load_judge
from msd_lab.tinyworld.render import true_renders
from msd_lab.tinyworld.world import Caption, all_pairs, held_out_pairs, seen_pairs
from rich.console import Console
from threestudio_msd.errors import UserError


@pytest.fixture
def records(tmp_path):
    pairs = [seen_pairs()[0], held_out_pairs()[0]]
    asked = [Caption(*pair).text for pair in pairs]
    for prompt in asked:
        found = write_samples(tmp_path, prompt, 0, true_renders(prompt, 3, seed=0))
    assert len(found) == 6
    return found


def test_a_share_counts_all_images_and_its_deviation_is_over_particles():
    share = Share.of({0: [True, False], 1: [True, True]})
    assert (share.mean, share.images) == (0.75, 4)
    assert share.std == pytest.approx(0.5 / 2**0.5)
    assert str(Share.of({0: [True, False]})) == "50.0"


def test_true_renders_show_what_they_should_seen_and_held_out_apart(records):
    found = accuracy(records, load_judge())
    assert {kind: heads["both"].images for kind, heads in found.items()} == {"seen": 3, "held out": 3}
    assert all(heads["both"].mean == 1 for heads in found.values())
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(as_table({"truth": {"a": found, "b": found}}).console())
    text = console.export_text()
    assert "100.0 ± 0.0" in text
    assert "both, b" in text


class Bright:
    """Finds the colour right in bright images, and the object always."""

    def classify(self, images):
        self.colour = (images.mean((1, 2, 3)) > 0.7).tolist()
        return self

    def right(self, captions):
        return {"object": [True] * len(captions), "colour": self.colour, "both": self.colour}


def comparison(folder, method):
    return PairComparison(
        methods=[method],
        prompts=[Caption(*pair).text for pair in (seen_pairs()[0], held_out_pairs()[0])],
        seeds=1,
        out=folder,
        read=lambda *_: CONFIG,
        judges={"bright": Bright()},
        max_steps=8,
        sampling=Sampling(4, 10, 2.0),
    )


def test_a_method_is_judged_beside_its_prior_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "sample_prompts", grey_samples)
    ran = []
    found, failed = compare(comparison(tmp_path, BAD), partial(one_by_one, ran=ran))
    assert (found.nfe, found.failed, failed, len(ran)) == (16, 0, {}, 2)
    for kind in ("seen", "held out"):
        assert str(found.accuracy["BAD"]["bright"][kind]["both"]) == "100.0 ± 0.0"
        assert found.accuracy["DDIM"]["bright"][kind]["both"].mean == 0  # grey
        assert found.accuracy["DDIM"]["bright"][kind]["object"].mean == 1
    assert compare(comparison(tmp_path, BAD), partial(one_by_one, ran=ran)) == (found, {})
    assert len(ran) == 2


def test_a_method_all_of_whose_runs_fail_is_told(tmp_path):
    with pytest.raises(UserError, match=r"^BROKEN: every run failed; .*something went wrong"):
        compare(comparison(tmp_path, BROKEN), one_by_one)


def test_the_judge_says_what_it_is_worth():
    assert "fresh true renders: object 9" in own_accuracy(load_judge())


def test_there_is_a_prompt_for_every_pair():
    assert len(prompts()) == len(all_pairs()) == len(set(prompts()))
    assert prompts(5) == prompts()[::5]
