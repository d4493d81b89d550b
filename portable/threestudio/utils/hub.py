"""Files of a model on the Hugging Face hub, without a long wait where it cannot be
reached.
"""

import threading
from collections.abc import Callable
from typing import Any

PATIENCE = 8.0  # seconds that the hub is given to answer; libraries' own limits hold for one attempt of many


def pretrained_folder(model: str, revision: str | None, patterns: list[str], ignored: list[str]) -> str:
    """The folder of some of a model's files, downloaded, or the cache's where the hub
    cannot be reached.

    Raises:
        OSError: Neither the hub nor the cache has them; or what the hub refuses, as its
            own errors.
    """
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    files = {"revision": revision, "allow_patterns": patterns, "ignore_patterns": ignored}
    if constants.HF_HUB_OFFLINE:
        return snapshot_download(model, local_files_only=True, **files)
    try:
        within(PATIENCE, lambda: HfApi().model_info(model, revision=revision))
    except errors.HfHubHTTPError as error:  # it is there, and says no
        raise _with_remedy(error, model) from error
    except Exception as error:  # whatever the HTTP library of the day raises: they share no base
        try:
            return snapshot_download(model, local_files_only=True, **files)
        except Exception:
            raise OSError(f"the hub cannot be reached: {error}") from error
    try:
        return snapshot_download(model, **files)
    except errors.HfHubHTTPError as error:
        raise _with_remedy(error, model) from error


def _with_remedy(error: Any, model: str) -> Exception:
    """What the hub refuses, with what the user can do, or else the error itself."""
    from huggingface_hub import constants, errors

    said = error.response.headers.get("X-Error-Message", "").lower()
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{model}"
        return OSError(f"it is gated: accept its licence at {page} and log in with `hf auth login`")
    if error.response.status_code == 401 and ("token" in said or "credential" in said):
        return OSError("the hub refuses this machine's token: log in again with `hf auth login`")
    return error


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """The result of a call, within a time.

    Raises:
        TimeoutError: It takes longer; it is then left to itself.
    """
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
