"""One program at a time in a folder."""

from __future__ import annotations

import subprocess
import sys

import pytest
from msd_lab.lock import alone_in
from threestudio_msd.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from msd_lab.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_comparison_at_a_time_and_a_dead_ones_lock_is_taken_over(tmp_path, package_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    other = subprocess.Popen(command, env=package_path, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another program is at work in"), alone_in(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with alone_in(tmp_path):
        pass
