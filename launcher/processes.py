"""A run in several processes, one a GPU: the first starts the others with its own command line."""

import os
from datetime import datetime
from typing import Any

STAMP = "THREESTUDIO_MSD_TIMESTAMP"
"""Where the first process leaves the time in the run's folder for those that it starts."""


def is_first() -> bool:
    """Whether this is the process that the user started, before there is a trainer to ask."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def in_one_folder(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the time that stands in the run's folder, the same in all its processes.

    Processes that something else starts, such as torchrun, know no common time; their run's folder has none.
    """
    if settings.get("timestamp") is not None or settings.get("use_timestamp") is False:
        return settings
    started_here = "LOCAL_RANK" not in os.environ
    stamp = datetime.now().strftime("@%Y%m%d-%H%M%S") if started_here else os.environ.get(STAMP, "")
    if not stamp:  # a run without a tag would lie in the folder of all runs of its name
        return {**settings, "timestamp": "", "tag": settings.get("tag") or "run"}
    os.environ[STAMP] = stamp
    return {**settings, "timestamp": stamp}
