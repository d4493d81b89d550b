"""Base classes of training systems, and their optimisers and schedulers."""

from . import base, dreamfusion, prolificdreamer  # noqa: F401
