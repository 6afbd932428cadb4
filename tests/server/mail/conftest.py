from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.mail.sink import Sink, running


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running(Sink()) as told:
        yield told
