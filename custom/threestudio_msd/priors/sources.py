"""Where a model's files come from: a folder, the hub, or the hub's cache on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import first_line
from .errors import PriorError

INDEX = "model_index.json"
PATIENCE = 8.0  # seconds that the hub is given to answer


@dataclass(frozen=True)
class Source:
    """A model's files.

    Attributes:
        names: All of them, relative to the model's folder.
        get: Where one lies, once it is there; all lie in one folder.
        note: What to add where something is missing.
    """

    names: frozenset[str]
    get: Callable[[str], Path]
    note: str = ""


def find(model: str, revision: str | None, index: str = INDEX) -> Source:
    """A model's files, wherever they are.

    Args:
        model: Folder or hub id.
        revision: Branch, tag or commit on the hub; None is its default.
        index: The file that says what the model is.

    Raises:
        PriorError: If there is no such folder, the hub does not have the model, or the hub cannot be reached
            and its cache does not have the model either.
    """
    folder = require_name(model)
    return folder_source(folder) if folder else hub_source(model, revision, index)


def require_name(model: str) -> Path | None:
    """Check that a model's name is that of a folder, or could be one on the hub.

    Returns:
        The folder.

    Raises:
        PriorError: It is neither.
    """
    if not isinstance(model, str) or not model.strip():
        raise PriorError(f"expected a folder or a hub id, got {model!r}")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or not _is_hub_id(model):
        raise PriorError(f"no such folder, and no hub id: expected a folder or owner/name, got {model!r}")
    return None


def _is_hub_id(model: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    if "/" not in model:  # only the oldest models have no owner, and none of them is of diffusion
        return False
    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return True


def folder_source(folder: Path, note: str = "") -> Source:
    """The files of a folder."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Source(frozenset(names), folder.__truediv__, note)


def hub_source(model: str, revision: str | None, index: str = INDEX) -> Source:
    """The files of a model on the hub, downloaded when asked for; its cache's where it cannot be reached.

    Raises:
        PriorError: If neither has it.
    """
    # a second to import
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        return cached_source(model, revision, "HF_HUB_OFFLINE is set", "unset it", index)
    try:
        info = within(PATIENCE, lambda: HfApi().model_info(model, revision=revision))
    except errors.GatedRepoError as error:
        raise PriorError("is gated: accept its licence on the hub and log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise PriorError("the hub has the model, but no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise PriorError(
            "the hub has no such model: check the id, or log in with `hf auth login` if it is private"
        ) from error
    except Exception as error:  # whatever the HTTP library of the day raises: they share no base
        reason = f"the hub cannot be reached ({first_line(error)})"
        return cached_source(model, revision, reason, "check the connection", index)
    names = frozenset(file.rfilename for file in info.siblings)

    def get(name: str) -> Path:
        # the index by the revision's own name, so that the cache learns which commit that is
        return _download(model, revision if name == index else info.sha, name)

    return Source(names, get)


def _download(model: str, revision: str | None, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except Exception as error:  # as above; or a full disk
        raise PriorError(
            f"{name}: the download failed ({first_line(error)}); run it again to go on"
        ) from error


def cached_source(model: str, revision: str | None, reason: str, remedy: str, index: str = INDEX) -> Source:
    """The files that the hub's cache has of a model, where the hub itself is out of reach.

    Args:
        model: Hub id.
        revision: See `find`.
        reason: Why it is.
        remedy: What helps against that.
        index: See `find`.

    Raises:
        PriorError: If the cache has none.
    """
    from huggingface_hub import try_to_load_from_cache

    mend = (
        f"{remedy}, download it with `hf download {model}`, or set pretrained_model_name_or_path to a folder"
    )
    found = try_to_load_from_cache(model, index, revision=revision)
    if not isinstance(found, str):
        raise PriorError(f"{reason}, and its cache lacks it: {mend}")
    return folder_source(Path(found).parent, f"; it is from the hub's cache, as {reason}: {mend}")


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """The result of a call, within a time: the limits of HTTP libraries hold for a single attempt.

    Raises:
        TimeoutError: If it takes longer; it is then left to itself.
    """
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:g} s") from error
