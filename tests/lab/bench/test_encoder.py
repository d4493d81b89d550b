"""What the encoder's gradient keeps: half in half precision, and little when checkpointed."""

import torch
from msd_lab.bench.encoder import GIB, kept


def test_half_precision_halves_and_checkpointing_keeps_a_sixth_or_less():
    plain, half, checkpointed = (
        kept("sd21", dtype, on, batch=1)
        for dtype, on in ((torch.float32, False), (torch.float16, False), (torch.float16, True))
    )
    assert 4 * half <= 6.3 * GIB
    assert half < 0.52 * plain
    assert checkpointed < 0.17 * half
