"""Embeddings: one tensor for threestudio, and everything back from it."""

from __future__ import annotations

import pytest
import torch
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from threestudio_msd.priors.embeddings import Embeddings, Layout

EXTRAS = {"pooled": (3,), "layers": (4, 5)}


def drawn(*lengths: int) -> Embeddings:
    ragged = Embeddings.ragged([torch.randn(length, 7) for length in lengths])
    extras = {name: torch.randn(len(lengths), *shape) for name, shape in EXTRAS.items()}
    return Embeddings(ragged.tokens, ragged.mask, extras)


def same(one: Embeddings, other: Embeddings) -> None:
    torch.testing.assert_close(one.tokens, other.tokens)
    assert torch.equal(one.mask, other.mask)
    for name in EXTRAS:
        torch.testing.assert_close(one.extras[name], other.extras[name])


def test_they_come_back_from_their_packed_tensor():
    embeddings = drawn(6, 2, 4)
    packed = embeddings.packed()
    assert packed.shape == (3, 6 + 1 + 3, 8)  # the pooled in a row, 4 x 5 numbers in three
    same(Embeddings.unpacked(packed, Layout(True, EXTRAS)), embeddings)


def test_tokens_alone_are_threestudios_own_tensor():
    tokens = torch.randn(2, 5, 8)
    torch.testing.assert_close(Embeddings(tokens).packed(), tokens)
    assert Embeddings.unpacked(tokens, Layout()).mask is None


def test_blocks_of_other_lengths_are_padded_and_masked():
    one, other = drawn(3, 5), drawn(2)
    both = Embeddings.joined([one, other])
    assert both.mask.sum(1).tolist() == [3, 5, 2]
    torch.testing.assert_close(both.tokens[2, :2], other.tokens[0])
    assert both.tokens[2, 2:].abs().sum() == 0
    with pytest.raises(ValueError, match="without a mask differ in length"):
        Embeddings.joined([Embeddings(torch.zeros(1, 2, 3)), Embeddings(torch.zeros(1, 3, 3))])


def test_views_negatives_and_perp_neg_act_on_the_packed_tensor():
    views, negative = drawn(5, 3, 4, 6), drawn(2, 2, 2, 2)
    prompts, negatives = Embeddings.joined([views, negative]).packed().chunk(2)
    front_first = {"side": 0, "front": 1, "back": 2, "overhead": 3}
    directions = [_Direction(name) for name in front_first]
    output = PromptProcessorOutput(
        prompts[:1],
        negatives[:1],
        prompts,
        negatives,
        directions,
        front_first,
        True,
        *[(1, 1, 1)] * 4,
        "",
        [],
    )
    where = [torch.zeros(2), torch.tensor([0.0, 90.0]), torch.ones(2)]
    layout = Layout(True, EXTRAS)
    found = Embeddings.unpacked(output.get_text_embeddings(*where), layout)
    assert found.mask.sum(1).tolist() == [3, 5, 2, 2]  # front, side, and the negative prompt twice
    mixed, weights = output.get_text_embeddings_perp_neg(where[0], torch.tensor([0.0, 45.0]), where[2])
    mixed = Embeddings.unpacked(mixed, layout)
    assert weights.shape == (2, 2)
    assert mixed.mask[:2].sum(1).tolist() == [3, 5]  # front alone; halfway, all tokens of front and side
    halfway = (views.extras["layers"][0] + views.extras["layers"][1]) / 2
    torch.testing.assert_close(mixed.extras["layers"][1], halfway)


class _Direction:
    """A direction of threestudio's that holds around one azimuth."""

    def __init__(self, name: str) -> None:
        self.name = name

    def condition(self, elevation, azimuth, distance):
        return {"side": azimuth == azimuth, "front": azimuth.abs() < 45}.get(self.name, azimuth != azimuth)
