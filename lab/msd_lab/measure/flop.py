"""Floating point operations, counted as they are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Shape = tuple[int, ...]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


ON_CPU = {  # which torch counts on CUDA alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count this thread's floating point operations: `get_total_flops()` of what is yielded tells them."""
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        yield counter
