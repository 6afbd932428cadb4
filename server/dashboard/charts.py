"""Bars over hours or days, drawn by the server: what is fine, and what went wrong on top of it.

A file of its own because several logs draw the same. Coordinates are those of the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

WIDTH: Final = 720
HEIGHT: Final = 96


class Counted(Protocol):
    """What a bar shows; ``count`` is both together."""

    @property
    def sent(self) -> int: ...

    @property
    def wrong(self) -> int: ...

    @property
    def count(self) -> int: ...


def bars_of(counted: Sequence[Counted]) -> dict[str, Any]:
    """``bars``, each with its ``one`` of ``counted``, x, width and two heights; ``lines`` are the
    numbers beside the drawing, from the top."""
    highest = max((one.count for one in counted), default=0)
    top = max(highest + highest % 2, 2)
    step = WIDTH / max(len(counted), 1)
    bars = [
        {
            "one": one,
            "x": round(number * step + step / 6, 1),
            "width": round(step * 2 / 3, 1),
            "fine": round(one.sent / top * HEIGHT, 1),
            "wrong": round(one.wrong / top * HEIGHT, 1),
        }
        for number, one in enumerate(counted)
        if one.count
    ]
    return {"bars": bars, "lines": (top, top // 2, 0), "width": WIDTH, "height": HEIGHT}
