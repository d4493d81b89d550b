"""Resources of this machine."""

from __future__ import annotations

import os


def device_memory() -> int:
    """Return the bytes of the first GPU's memory, or of the machine's main memory if
    there is no GPU.
    """
    import torch  # a machine that lacks it is asked too

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
