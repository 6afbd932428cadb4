"""The QR codes of payment slips as SVG: GiroCode and the Swiss one with its cross. Pure.

A file of its own because it is a picture and no wording. On paper every module is drawn, so the
code is sharp at any size; what stands in it comes as a finished text (EPC069-12; SIX, QR-bill).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import segno

MAX_PAYLOAD_BYTES: Final = 331  # QR version 13 at level M, the largest that banks must read
MAX_SWISS_PAYLOAD_BYTES: Final = 997  # version 25, the largest on a QR-bill
QUIET_ZONE_MODULES: Final = 4  # ISO/IEC 18004

# SIX, QR-bill, 6.4.2: on a code of 46 mm a cross of 7 mm, its white border of 0.5 mm included.
SWISS_CODE_MILLIMETRES: Final = 46.0
CROSS_MILLIMETRES: Final = (7.0, 6.0, 3.89, 1.17)  # with border, without it, arm: length, width
MASK: Final = 3
"""Trying all eight masks takes longer than the rest; on clean paper any of them reads."""


def girocode_svg(payload: str) -> str:
    """With its quiet zone. Raises ValueError if the payload is longer than the standard allows."""
    return _svg(_modules(payload, MAX_PAYLOAD_BYTES), QUIET_ZONE_MODULES, "")


def swiss_qr_svg(payload: str) -> str:
    """Without quiet zone, which the bill's layout leaves free, and with the Swiss cross.

    Raises ValueError if the payload is longer than the standard allows.
    """
    rows = _modules(payload, MAX_SWISS_PAYLOAD_BYTES)
    return _svg(rows, 0, "".join(_cross(len(rows))))


def _modules(payload: str, most_bytes: int) -> Sequence[bytes]:
    """Rows of modules, 1 is black; error correction M."""
    size = len(payload.encode())
    if size > most_bytes:
        raise ValueError(f"the code holds {most_bytes} bytes, not {size}")
    code = segno.make_qr(
        payload, error="m", mode="byte", encoding="utf-8", boost_error=False, mask=MASK
    )
    return [bytes(row) for row in code.matrix]


def _svg(rows: Sequence[bytes], quiet: int, more: str) -> str:
    side = len(rows) + 2 * quiet
    path = "".join(
        f"M{start + quiet} {y + quiet}h{end - start}v1h-{end - start}z"
        for y, row in enumerate(rows)
        for start, end in _runs(row)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}"'
        f' viewBox="0 0 {side} {side}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{side}v{side}h-{side}z"/>'
        f'<path fill="#000" d="{path}"/>{more}</svg>'
    )


def _runs(row: bytes) -> Iterator[tuple[int, int]]:
    """Black modules next to each other, as start and end."""
    at = row.find(1)
    while at >= 0:
        end = row.find(0, at)
        end = len(row) if end < 0 else end
        yield at, end
        at = row.find(1, end)


def _cross(modules: int) -> Iterator[str]:
    """Black on a white ground, the cross in it white again."""
    unit, middle = modules / SWISS_CODE_MILLIMETRES, modules / 2
    outer, square, length, width = CROSS_MILLIMETRES
    for wide, high, colour in (
        (outer, outer, "#fff"),
        (square, square, "#000"),
        (length, width, "#fff"),
        (width, length, "#fff"),
    ):
        left, top = middle - wide * unit / 2, middle - high * unit / 2
        yield (
            f'<rect x="{left:.4f}" y="{top:.4f}" width="{wide * unit:.4f}"'
            f' height="{high * unit:.4f}" fill="{colour}"/>'
        )
