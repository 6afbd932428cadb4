"""Flows run real processes; the full counts (``torture``) only where they were asked for."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KONTOR_TORTURE") == "1":
        return
    for item in items:
        if item.get_closest_marker("torture"):
            item.add_marker(pytest.mark.skip(reason="the full counts: make torture"))
