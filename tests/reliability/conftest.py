"""Counts what the fault tests survive, and says at the end what was lost."""

from dataclasses import dataclass, field

import pytest


@dataclass
class Tally:
    """Faults by kind; `lost` counts the steps that were done again, `files` the results that were gone."""

    survived: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, lost: int = 0) -> None:
        """Count a fault that was survived."""
        self.survived[kind] = self.survived.get(kind, 0) + 1
        self.lost[kind] = max(self.lost.get(kind, 0), lost)


TALLY = pytest.StashKey[Tally]()


@pytest.fixture
def tally(request):
    """The session's tally."""
    return request.config.stash.setdefault(TALLY, Tally())


def pytest_terminal_summary(terminalreporter, config):
    """Print it, after fault tests."""
    found = config.stash.get(TALLY, None)
    if found is None:
        return
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", ())]
    terminalreporter.section("faults")
    for kind, count in found.survived.items():
        lost = found.lost[kind]
        terminalreporter.line(
            f"{count:4d} {kind}: lost {f'at most {lost} steps, done again' if lost else 'nothing'}"
        )
    terminalreporter.line(f"{sum(found.survived.values()):4d} faults survived, {len(failed)} not")
