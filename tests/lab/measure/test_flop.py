"""Operations counted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from msd_lab.measure.flop import counting


def test_products_forward_and_backward_are_counted():
    a, b = torch.ones(2, 3).requires_grad_(), torch.ones(3, 5).requires_grad_()
    with counting() as counter:
        (a @ b).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 2 * 3 * 5  # the product, and one for each gradient


def test_attention_on_a_cpu_is_counted():
    q = torch.ones(1, 2, 4, 8)
    with counting() as counter, torch.no_grad():
        F.scaled_dot_product_attention(q, q, q)
    assert counter.get_total_flops() == 2 * 2 * (2 * 4 * 4 * 8)  # two products of every head
