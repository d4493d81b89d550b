#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.13.0): structural_similarity_index_measure without data_range takes the range of the whole
# batch, so that one and the same pair of pictures has another SSIM beside other pictures; a pair of equal, flat pictures
# has NaN. With data_range=1.0 neither happens. peak_signal_noise_ratio pools the squared error of a batch: two pictures of
# 26.0 and 60.0 dB have 29.0, not their mean of 43.0 (dim=(1, 2, 3) gives that).
# Seen: the values that the program prints.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as psnr,
    structural_similarity_index_measure as ssim,
)

generator = torch.Generator().manual_seed(0)
clean = 0.4 + 0.2 * torch.rand(1, 3, 32, 32, generator=generator)
noisy = clean + 0.05 * torch.randn(clean.shape, generator=generator)
other = torch.zeros_like(clean)
other[..., :16] = 4.0
alone = ssim(noisy, clean, reduction="none")
beside = ssim(torch.cat([noisy, other]), torch.cat([clean, other]), reduction="none")
flat = ssim(torch.full_like(clean, 0.5), torch.full_like(clean, 0.5))
print(f"SSIM alone {alone.item():.3f}, beside a brighter pair {beside[0].item():.3f}, flat {flat.item()}")
assert beside[0] - alone.item() > 0.1 and flat.isnan()
fixed = ssim(torch.cat([noisy, other]), torch.cat([clean, other]), reduction="none", data_range=1.0)
assert abs(fixed[0] - ssim(noisy, clean, data_range=1.0)) < 1e-5

target = torch.full((2, 3, 8, 8), 0.5)
preds = target + torch.tensor([0.05, 0.001]).reshape(2, 1, 1, 1)
pooled = psnr(preds, target, data_range=1.0)
mean = psnr(preds, target, data_range=1.0, dim=(1, 2, 3))
print(f"PSNR pooled {pooled:.1f}, mean over pictures {mean:.1f}")
assert abs(pooled - 29.0) < 0.1 and abs(mean - 43.0) < 0.1
PY
