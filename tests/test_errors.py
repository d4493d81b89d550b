import os
import subprocess
import sys

import pytest
import threestudio_msd
from threestudio_msd.errors import NonFiniteError, UserError, did_you_mean, first_line, status_of


def test_a_near_word_is_suggested_and_a_far_one_is_not():
    assert did_you_mean("stpes", ["steps", "solver"]) == "; did you mean 'steps'?"
    assert did_you_mean("xyzzy", ["steps", "solver"]) == did_you_mean("steps", []) == ""


@pytest.mark.parametrize(("text", "line"), [("a\nb", "a"), ("\n  a  \nb", "a"), ("", "ValueError")])
def test_the_first_line_says_something(text, line):
    assert first_line(ValueError(text)).strip() == line


def test_what_a_user_can_mend_ends_with_2_and_a_number_that_is_none_with_1():
    assert (UserError.status, NonFiniteError.status) == (2, 1)
    assert issubclass(NonFiniteError, ArithmeticError)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("steps: expected 1"), 2, "error: steps: expected 1\n"),
        (NonFiniteError("latents: NaN"), 1, "error: latents: NaN\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "error: x: No such file or directory\n"),
    ],
    ids=["user", "number", "file"],
)
def test_what_a_user_can_mend_is_one_line_and_a_status(error, status, line, capsys):
    def work():
        raise error

    assert status_of(work) == status
    assert capsys.readouterr() == ("", line)
    assert status_of(lambda: 7) == 7


def test_a_reader_that_has_seen_enough_ends_a_command_quietly():
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` after its last line
    program = (
        "from threestudio_msd.errors import status_of; raise SystemExit(status_of(lambda: print('x') or 0))"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(threestudio_msd.__path__[0])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
