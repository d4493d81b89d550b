"""What is wrong, with its name before it."""

from __future__ import annotations

import pytest
from threestudio_msd.errors import UserError
from threestudio_msd.priors import PriorError, named


def test_a_prior_error_is_a_users_and_gets_its_name():
    with pytest.raises(UserError, match=r"^key: folder: no such folder$"), named("key"), named("folder"):
        raise PriorError("no such folder")


def test_other_errors_pass_as_they_are():
    with pytest.raises(ZeroDivisionError, match="division by zero"), named("key"):
        1 / 0  # noqa: B018
