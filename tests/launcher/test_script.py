"""How programs end: with the status of their work, or one line of what the user can mend."""

import pytest

from launcher import UserError
from launcher.script import in_one_line, with_host


def failing(error):
    def work():
        raise error

    return work


def test_the_status_is_that_of_the_work():
    assert in_one_line(lambda: 1) == 1
    assert with_host(lambda: 0) == 0


@pytest.mark.parametrize("end", [in_one_line, with_host])
def test_what_the_user_can_mend_is_one_line(end, capsys):
    assert end(failing(UserError("--out: no such folder"))) == 2
    assert capsys.readouterr().err == "error: --out: no such folder\n"


def test_a_full_disk_is_one_too_where_the_host_is_used(capsys):
    assert with_host(failing(OSError(28, "No space left on device"))) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(capsys):
    assert in_one_line(failing(KeyboardInterrupt())) == 130
    assert "goes on with what is left" in capsys.readouterr().err


def test_a_bug_shows_its_traceback():
    with pytest.raises(ZeroDivisionError):
        with_host(failing(ZeroDivisionError()))
