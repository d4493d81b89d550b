"""Embedded prompts of every family as one type, and as the one tensor that threestudio
passes around.

threestudio picks views, joins negative prompts and mixes views for Perp-Neg on one
tensor `[B, N, C]`, which `Embeddings.packed` makes and `Embeddings.unpacked` splits by
the family's `Layout`. Tokens alone pack to themselves, which is what threestudio's own
prompt processors return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Packed = Float[Tensor, "B N C"]
"""Packed embeddings, a prompt a row; what prompt processors return."""


@dataclass(frozen=True)
class Layout:
    """Describes what a family's embeddings hold beside tokens, so that they can be
    unpacked from one tensor.

    Attributes:
        masked: Whether there is a mask, as some tokens are padding.
        extras: Shapes of further tensors, without the batch, by name.
    """

    masked: bool = False
    extras: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Embeddings:
    """Embedded prompts, B rows.

    Attributes:
        tokens: Hidden states, `[B, T, C]`.
        mask: Tokens that the network sees, `[B, T]`; None means all.
        extras: Further tensors `[B, ...]` by name, such as `pooled`.
    """

    tokens: Float[Tensor, "B T C"]
    mask: Bool[Tensor, "B T"] | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def ragged(cls, prompts: Sequence[Float[Tensor, "_ C"]]) -> Embeddings:
        """Make embeddings of B prompts `[T_i, C]` of different lengths, padded with
        zeros to the longest, and masked.
        """
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)
        tokens = torch.nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
        return cls(tokens, torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None])

    @classmethod
    def joined(cls, blocks: Sequence[Embeddings]) -> Embeddings:
        """Concatenate embeddings along the rows; shorter ones are padded with zeros,
        which the mask hides.

        Args:
            blocks: At least one; all have the same extras, and all or none have a mask.

        Raises:
            ValueError: Embeddings without a mask differ in length.
        """
        most = max(block.tokens.shape[1] for block in blocks)
        padded = [(block, most - block.tokens.shape[1]) for block in blocks]
        masked = [F.pad(block.mask, (0, more)) for block, more in padded if block.mask is not None]
        if any(more for _, more in padded) and not masked:
            raise ValueError("embeddings without a mask differ in length")
        return cls(
            torch.cat([F.pad(block.tokens, (0, 0, 0, more)) for block, more in padded]),
            torch.cat(masked) if masked else None,
            {name: torch.cat([block.extras[name] for block in blocks]) for name in blocks[0].extras},
        )

    def packed(self) -> Packed:
        """Pack tokens, mask and extras into one float32 tensor `[B, N, C]`: the mask as
        one more column, extras as further rows.

        Tokens alone pack to themselves. `unpacked` is the inverse.
        """
        tokens = self.tokens.float()
        if self.mask is not None:
            tokens = torch.cat([tokens, self.mask[..., None].to(tokens)], -1)
        width = tokens.shape[-1]
        flat = [extra.flatten(1).to(tokens) for extra in self.extras.values()]
        rows = [F.pad(x, (0, -x.shape[1] % width)).unflatten(1, (-1, width)) for x in flat]
        return torch.cat([tokens, *rows], 1)

    @classmethod
    def unpacked(cls, packed: Packed, layout: Layout) -> Embeddings:
        """Split a tensor that `packed` made, or a weighted sum of such tensors, into
        tokens, mask and extras.

        Args:
            packed: `[B, N, C]`. In a sum, a token is seen if one of the prompts has it.
            layout: The family's layout.
        """
        shapes, width = layout.extras, packed.shape[-1]
        counts = [ceil(prod(shape) / width) for shape in shapes.values()]
        tokens, *rows = packed.split([packed.shape[1] - sum(counts), *counts], 1)
        extras = {
            name: block.flatten(1)[:, : prod(shape)].unflatten(1, shape)
            for (name, shape), block in zip(shapes.items(), rows, strict=True)
        }
        if not layout.masked:
            return cls(tokens, None, extras)
        return cls(tokens[..., :-1], tokens[..., -1] > 0, extras)
