"""Cached targets: the last target of every particle, or of every camera that comes
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..distillation import Estimate, State, converged, smoothed
from ..distillation.protocols import Batch
from ..processes import moved

SAVED = {
    **{name: name for name in ("latents", "sigma", "age", "shift", "gradient")},
    "converged": "finished",
}
"""Fields of a cached target that a checkpoint holds, and their keys there."""


@dataclass(frozen=True)
class CachedTarget:
    """The last estimate of one particle's target x'.

    Attributes:
        latents: x', `[C, h, w]`.
        sigma: lambda of the estimate, 0-d.
        state: The estimator's state of this particle, tensors by name.
        age: Number of steps that have fitted this target.
        shift: Running average of the mean-shift vectors at the final lambda, `[C, h,
            w]`; None before lambda is there.
        converged: Whether the particle needs no further estimate.
        images: x' decoded, `[3, H, W]`; None until it is needed.
        gradient: y - x' of the render that x' was estimated at, `[C, h, w]`; None in
            early checkpoints.
    """

    latents: Tensor
    sigma: Tensor
    state: State = field(default_factory=dict)
    age: int = 0
    shift: Tensor | None = None
    converged: bool = False
    images: Tensor | None = None
    gradient: Tensor | None = None


class TargetCache:
    """The last target of every particle or repeating camera, by its number, and the
    rule by which targets become stale.

    `stale` lists the rows to estimate, `put` caches their estimates, and `fit` returns
    all rows' targets.

    Args:
        refresh_every: Number of steps that fit a target before it is stale.
        threshold: A particle converges, and its target is never stale again, once the
            root mean square of its average shift at the final lambda is at most
            `threshold` times lambda; 0 means never.
    """

    def __init__(self, refresh_every: int, threshold: float) -> None:
        self.refresh_every, self.threshold = refresh_every, threshold
        self.entries: dict[int, CachedTarget] = {}

    def stale(self, keys: Sequence[int], final_fit: bool = False) -> list[int]:
        """List the rows of a batch whose target must be estimated anew.

        Args:
            keys: Particle of each row.
            final_fit: Whether the final fit is on, in which only particles without a
                target are stale.

        Returns:
            Positions of the rows in the batch.
        """
        fresh = {
            key
            for key, entry in self.entries.items()
            if entry.converged or final_fit or entry.age < self.refresh_every
        }
        return [row for row, key in enumerate(keys) if key not in fresh]

    def state(self, keys: Sequence[int], initial: State) -> State:
        """Gather the estimator's state of a batch from the cached targets.

        Args:
            keys: Particle of each row.
            initial: State for particles without a cached one, tensors `[B, ...]` by
                name.

        Returns:
            The state, with the names and shapes of `initial`.
        """
        states = [self.entries[key].state if key in self.entries else {} for key in keys]
        return {
            name: torch.stack([state.get(name, first[row]) for row, state in enumerate(states)])
            for name, first in initial.items()
        }

    def put(self, keys: Sequence[int], estimate: Estimate, final_lambda: float) -> None:
        """Cache the targets of an estimate, and note which particles have converged.

        Args:
            keys: Particle of each row.
            estimate: The estimate, `[B, ...]`.
            final_lambda: The lambda that the bandwidth ends at; shifts are averaged
                only there.
        """
        sigmas = estimate.sigma.expand(len(keys))
        for row, key in enumerate(keys):
            state = {name: tensor[row] for name, tensor in estimate.state.items()}
            gradient = estimate.gradient[row]
            entry = CachedTarget(estimate.target[row], sigmas[row], state, gradient=gradient)
            self.entries[key] = self._averaged(key, entry, -estimate.gradient[row], final_lambda)

    def _averaged(self, key: int, entry: CachedTarget, shift: Tensor, final_lambda: float) -> CachedTarget:
        """Average the shift in at the final lambda; one shift alone is no average, so
        two are needed.
        """
        before = self.entries.get(key)
        if self.threshold == 0 or entry.sigma > final_lambda:
            return entry
        if before is None or before.shift is None:
            return replace(entry, shift=shift)
        shift = smoothed(before.shift, shift)
        done = bool(converged(shift[None], final_lambda, self.threshold))
        return replace(entry, shift=shift, converged=done)

    def fit(self, keys: Sequence[int], latents: Batch | None) -> Estimate:
        """Return the cached targets as an estimate for the present latents, and add a
        step to their ages.

        Args:
            keys: Particle of each row.
            latents: The renders' latents y, `[B, C, h, w]`; None for those that the
                targets were estimated at.

        Returns:
            An estimate with gradient y - x', `[B, C, h, w]`, and no evaluations.

        Raises:
            KeyError: A particle has no target.
        """
        entries = [self.entries[key] for key in keys]
        self.entries |= {k: replace(e, age=e.age + 1) for k, e in zip(keys, entries, strict=True)}
        target = torch.stack([entry.latents for entry in entries])
        sigma = torch.stack([entry.sigma for entry in entries])
        before = [entry.gradient for entry in entries if entry.gradient is not None]
        gradient = torch.stack(before) if latents is None else latents - target
        return Estimate(target, gradient, 0, sigma, denoised=target)

    def know_gradients(self, keys: Sequence[int]) -> bool:
        """Tell whether `fit` needs no latents; early checkpoints hold no gradients."""
        return all(self.entries[key].gradient is not None for key in keys)

    def images(self, keys: Sequence[int], decode: Callable[[Batch], Batch]) -> Batch:
        """Return the decoded targets of a batch, each decoded once and cached.

        Args:
            keys: Particle of each row.
            decode: Decodes latents `[n, C, h, w]` to images `[n, 3, H, W]`.

        Returns:
            Images, `[B, 3, H, W]`.

        Raises:
            KeyError: A particle has no target.
        """
        new = [key for key in dict.fromkeys(keys) if self.entries[key].images is None]
        if new:
            decoded = decode(torch.stack([self.entries[key].latents for key in new]))
            for key, images in zip(new, decoded, strict=True):
                self.entries[key] = replace(self.entries[key], images=images)
        entries = [self.entries[key] for key in keys]
        return torch.stack([entry.images for entry in entries if entry.images is not None])

    def all_converged(self, fitted: int) -> bool:
        """Tell whether every cached particle has converged and its last target was
        fitted for `fitted` steps.
        """
        return all(entry.converged and entry.age >= fitted for entry in self.entries.values())

    def checkpoint(self) -> dict[str, Any]:
        """Return the cache as plain data and tensors, for a checkpoint and `restore`;
        decoded images are left out.
        """
        return {
            "kept": {
                key: {name: getattr(entry, own) for own, name in SAVED.items()}
                for key, entry in self.entries.items()
            },
            "states": {key: dict(entry.state) for key, entry in self.entries.items()},
        }

    def restore(self, saved: Mapping[str, Any], device: torch.device | str) -> None:
        """Replace the cache by what `checkpoint` returned.

        Args:
            saved: The checkpoint's values; without the keys of `checkpoint` the cache
                becomes empty.
            device: Device that the tensors are moved to.
        """
        entries, states = (moved(saved.get(name, {}), torch.device(device)) for name in ("kept", "states"))
        self.entries = {}
        for key, entry in entries.items():
            fields = {own: entry.get(name) for own, name in SAVED.items()}
            self.entries[key] = CachedTarget(**fields, state=states.get(key, {}))
