"""Prompt processors: from a prompt to text embeddings, one per view direction."""

from . import stable_diffusion_prompt_processor  # noqa: F401
