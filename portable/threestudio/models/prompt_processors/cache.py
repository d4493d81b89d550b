"""Text embeddings kept on disk, a file a prompt; nothing about the cache ends a run."""

import hashlib
import os
from dataclasses import dataclass, field

import threestudio
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from threestudio.utils.files import atomic_path
from torch import Tensor


@dataclass(frozen=True)
class Embedded:
    """A prompt's embedding, and what of the prompt its text encoder had no room for."""

    embedding: Float[Tensor, "N Nf"]
    ignored: str = ""


@dataclass
class TextCache:
    """Embeddings by path. Damaged entries are none, and said once; so is a folder that
    cannot be written.
    """

    damaged: list[str] = field(default_factory=list)

    def read(self, path: str) -> Embedded | None:
        """The entry at a path, if there is one and it is as it was written."""
        if not os.path.lexists(path):
            return None
        try:
            with safe_open(path, "pt") as file:
                about, embedding = file.metadata() or {}, file.get_tensor("embedding")
        except (OSError, SafetensorError):
            return self._miss(path)
        if about.get("digest") != _digest(embedding):
            return self._miss(path)
        return Embedded(embedding, about.get("ignored", ""))

    def _miss(self, path: str) -> None:
        if not self.damaged:
            threestudio.warn(f"Cached text embeddings are damaged and computed again, such as {path}")
        self.damaged.append(path)

    def write(self, entries: dict[str, Embedded]) -> None:
        """Keep entries, each whole or not at all: several processes may write the same
        ones.
        """
        try:
            for path, entry in entries.items():
                os.makedirs(os.path.dirname(path), exist_ok=True)
                embedding = entry.embedding.cpu().contiguous()
                about = {"digest": _digest(embedding), "ignored": entry.ignored}
                # safetensors' own writer makes files that only their owner can read
                with atomic_path(path) as temporary, open(temporary, "wb") as file:
                    file.write(save({"embedding": embedding}, about))
        except (OSError, SafetensorError) as error:
            threestudio.warn(f"Text embeddings are not kept for later runs: {error}")


def _digest(embedding: Tensor) -> str:
    shape = f"{embedding.dtype} {tuple(embedding.shape)} "
    return hashlib.sha256(shape.encode() + embedding.numpy().tobytes()).hexdigest()
