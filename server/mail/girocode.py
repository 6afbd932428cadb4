"""GiroCode: the picture of a payment's QR code.

A file of its own because it is a picture, not wording: the dashboard, the customer's page and
letters show the same one. What stands in it (EPC069-12) comes as a finished text, like all facts.
"""

from __future__ import annotations

import zlib
from struct import pack

import segno

MAX_PAYLOAD_BYTES = 331  # what QR version 13 holds at level M, the largest that banks must read
QUIET_ZONE_MODULES = 4  # ISO/IEC 18004
PIXELS_PER_MODULE = 6
# Trying all eight masks takes 7 ms, five times the rest of the code, to gain a little for bad
# cameras at bad paper. On a screen any mask reads, so every code uses the same.
MASK = 3


def girocode_png(payload: str) -> bytes:
    """The code as PNG, black on opaque white with its quiet zone, so that it reads in dark mode.

    Raises ValueError if the payload is longer than the standard allows.
    """
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a GiroCode holds {MAX_PAYLOAD_BYTES} bytes, not {len(payload.encode())}")
    code = segno.make_qr(
        payload, error="m", mode="byte", encoding="utf-8", boost_error=False, mask=MASK
    )
    return _png([bytes(row) for row in code.matrix])


def _png(rows: list[bytes]) -> bytes:
    """One bit a pixel (PNG, ISO/IEC 15948). segno's own writer takes ten times as long."""
    size = len(rows) + 2 * QUIET_ZONE_MODULES
    pixels = size * PIXELS_PER_MODULE
    quiet = "1" * QUIET_ZONE_MODULES
    blank = _scanlines("1" * size) * QUIET_ZONE_MODULES
    lines = [_scanlines(quiet + row.translate(_WHITE_BITS).decode() + quiet) for row in rows]
    header = pack(">IIBBBBB", pixels, pixels, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(content)) + name + content + pack(">I", zlib.crc32(name + content))
        for name, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(blank + b"".join(lines) + blank)),
            (b"IEND", b""),
        )
    )


_WHITE_BITS = bytes.maketrans(b"\x00\x01", b"10")


def _scanlines(modules: str) -> bytes:
    """One row of modules, "1" white, as PIXELS_PER_MODULE equal scanlines of filter type 0."""
    bits = "".join(module * PIXELS_PER_MODULE for module in modules)
    width = -(-len(bits) // 8)
    line = int(bits.ljust(width * 8, "1"), 2).to_bytes(width, "big")
    return (b"\x00" + line) * PIXELS_PER_MODULE
