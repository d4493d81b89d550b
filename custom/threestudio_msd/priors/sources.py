"""Finds a model's files: in a folder, on the hub, or in the hub's cache on this
machine.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import first_line
from .errors import PriorError

INDEX = "model_index.json"
PATIENCE = 8.0  # seconds to wait for the hub's first answer
MOVED = {
    **{
        f"stabilityai/stable-diffusion-{name}": (f"sd2-community/stable-diffusion-{name}", "November 2025")
        for name in ("2", "2-base", "2-1", "2-1-base")
    },
    "runwayml/stable-diffusion-v1-5": ("stable-diffusion-v1-5/stable-diffusion-v1-5", "August 2024"),
}
"""Ids that their owners took off the hub: the id that has the same files today, and since when."""


@dataclass(frozen=True)
class Source:
    """A model's files, in a folder or on the hub.

    Attributes:
        sizes: Bytes of every file, by its path in the model's folder; None if the hub
            does not say.
        fetch: Downloads the named files unless they are on this machine, and returns
            the model's folder; raises PriorError if a download fails.
        is_here: Tells whether the named files are on this machine.
        note: Appended to an error about a missing file.
    """

    sizes: Mapping[str, int | None]
    fetch: Callable[[Collection[str]], Path]
    is_here: Callable[[Collection[str]], bool]
    note: str = ""


def find(model: str, revision: str | None, index: str = INDEX) -> Source:
    """Find a model's files: in a folder, on the hub, or in the hub's cache on this
    machine.

    Args:
        model: Folder or hub id.
        revision: Branch, tag or commit on the hub; None is its default.
        index: File that says what the model is.

    Raises:
        PriorError: The folder does not exist, the hub does not have the model or
            refuses it, or neither the hub can be reached nor its cache has the model.
    """
    folder = require_name(model)
    return folder_source(folder) if folder else hub_source(current_id(model, revision), revision, index)


def current_id(model: str, revision: str | None = None) -> str:
    """Return the hub id under which a model's files are today; warn in the log if that
    is another id.

    A former id is kept if the cache on this machine has its files.

    Args:
        model: Hub id.
        revision: Branch, tag or commit that is looked for in the cache.
    """
    if model not in MOVED:
        return model
    from huggingface_hub import try_to_load_from_cache

    new, since = MOVED[model]
    if isinstance(try_to_load_from_cache(model, INDEX, revision=revision), str):
        return model
    logging.getLogger(__name__).warning("%s is gone from the hub since %s: taking %s", model, since, new)
    return new


def require_name(model: str) -> Path | None:
    """Return the folder that a model's name points to; None if there is none and the
    name has the form of a hub id, owner/name.

    Raises:
        PriorError: The name is neither, such as that of a file or of a missing folder.
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

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return "/" in model  # ids without an owner are old, and none of them is a diffusion model


def folder_source(folder: Path, note: str = "") -> Source:
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    return Source(sizes, lambda names: folder, lambda names: True, note)


def hub_source(model: str, revision: str | None, index: str = INDEX) -> Source:
    """List the files of a model on the hub, or those in its cache if the hub cannot be
    reached.

    Args:
        model: Hub id.
        revision: Branch, tag or commit on the hub; None is its default.
        index: File that says what the model is, looked for in the cache.

    Raises:
        PriorError: The hub does not have the model or refuses it; or the hub cannot be
            reached and its cache lacks the model.
    """
    # takes a second to import
    from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return cached_source(model, revision, "HF_HUB_OFFLINE is set", "unset it", index)
    try:
        info = within(PATIENCE, lambda: HfApi().model_info(model, revision=revision, files_metadata=True))
    except Exception as error:  # HTTP libraries differ between releases of the hub's, without a common base
        if refused := refusal(error, model):
            raise PriorError(refused) from error
        reason = f"the hub cannot be reached ({first_line(error)})"
        return cached_source(model, revision, reason, "check the connection", index)

    def fetch(names: Collection[str]) -> Path:
        # the index by the revision's own name, from which the cache learns its commit
        commit = revision if index in names else info.sha
        try:
            return Path(snapshot_download(model, revision=commit, allow_patterns=[*names]))
        except Exception as error:  # as above; or a full disk
            failed = f"the download failed ({first_line(error)}); run it again to go on"
            raise PriorError(refusal(error, model) or failed) from error

    def is_here(names: Collection[str]) -> bool:
        return all(isinstance(try_to_load_from_cache(model, name, revision=info.sha), str) for name in names)

    return Source({file.rfilename: file.size for file in info.siblings}, fetch, is_here)


def refusal(error: Exception, model: str) -> str:
    """Explain why the hub refused a request, and what to do about it.

    The hub lists a gated model's files to anybody, and refuses their download.

    Args:
        error: The exception of the request.
        model: Hub id.

    Returns:
        The explanation; empty if the error is no refusal.
    """
    from huggingface_hub import constants, errors

    # a refusal of one file is the cause of an error about the cache, which lacks it
    errors_of_http = (getattr(one, "response", None) for one in (error, error.__cause__))
    response = next((one for one in errors_of_http if one is not None), None)
    status = getattr(response, "status_code", None)
    said = response.headers.get("X-Error-Message", "") if response is not None else ""
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{model}"
        return f"is gated: accept its licence at {page} and log in with `hf auth login`"
    if status == 401 and re.search("credential|token", said, re.IGNORECASE):
        return "the hub refuses this machine's token: log in again with `hf auth login`, or unset HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has the model, but no such revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such model: check the id, or log in with `hf auth login` if it is private"
    return f"the hub forbids the download: {said}" if status == 403 else ""


def cached_source(model: str, revision: str | None, reason: str, remedy: str, index: str = INDEX) -> Source:
    """List the files that the hub's cache on this machine has of a model.

    Args:
        model: Hub id.
        revision: Branch, tag or commit; None is the default one.
        reason: Why the hub itself is not asked, for messages.
        remedy: What the user can do about that, for messages.
        index: File that says what the model is.

    Raises:
        PriorError: The cache lacks the model.
    """
    from huggingface_hub import try_to_load_from_cache

    advice = (
        f"{remedy}, download it with `hf download {model}`, or set pretrained_model_name_or_path to a folder"
    )
    found = try_to_load_from_cache(model, index, revision=revision)
    if not isinstance(found, str):
        raise PriorError(f"{reason}, and its cache lacks it: {advice}")
    return folder_source(Path(found).parent, f"; it is from the hub's cache, as {reason}: {advice}")


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return the result of a call, unless it takes too long: an HTTP library's own
    limit holds for one attempt only.

    Args:
        seconds: Longest time to wait.
        call: Runs in a daemon thread; its exceptions are raised here.

    Raises:
        TimeoutError: The call takes longer; it continues in its thread.
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
