"""What a run of tests is asked for."""

from __future__ import annotations

import pytest


def selected(session: pytest.Session, parameter: str) -> list[str]:
    """The values of a test's parameter that are to be run."""
    found = [getattr(item, "callspec", None) for item in session.items]
    return [spec.params[parameter] for spec in found if spec and parameter in spec.params]
