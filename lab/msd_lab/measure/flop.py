"""Floating point operations, counted as they are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

ON_CPU = {  # which torch counts on CUDA alone; arguments after the shapes do not matter
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value)
    ),
}


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count this thread's floating point operations: `get_total_flops()` of what is
    yielded tells them.
    """
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        yield counter
