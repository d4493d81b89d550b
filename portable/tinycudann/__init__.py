"""tinycudann's interface in plain torch: CPU or GPU, any float type, differentiable as
often as you like.

The parameters of grids have tinycudann's layout, hashing and interpolation. Networks
differ in one respect: tinycudann pads their inputs with ones to a multiple of 16, which
acts as a bias of the first layer; here nothing is padded.
"""

import torch
from tinycudann.modules import Encoding, Network, NetworkWithInputEncoding

__all__ = ["Encoding", "Network", "NetworkWithInputEncoding", "free_temporary_memory"]


def free_temporary_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
