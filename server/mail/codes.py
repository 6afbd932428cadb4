"""The pictures of a payment's QR code: GiroCode, and that of the Swiss QR-bill.

A file of its own because it is a picture, not wording: the dashboard, the customer's page and
letters show the same one. What stands in it (EPC069-12; SIX, QR-bill) comes as a finished text,
like all facts.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from struct import pack

import segno

MAX_PAYLOAD_BYTES = 331  # what QR version 13 holds at level M, the largest that banks must read
MAX_SWISS_PAYLOAD_BYTES = 997  # as much at version 25, the largest on a QR-bill
QUIET_ZONE_MODULES = 4  # ISO/IEC 18004
PIXELS_PER_MODULE = 6
# Trying all eight masks takes 7 ms, five times the rest of the code, to gain a little for bad
# cameras at bad paper. On a screen any mask reads, so every code uses the same.
MASK = 3

# SIX, QR-bill, 6.4.2: on a code of 46 mm, a cross of 7 mm with its white border; in millimetres.
SWISS_CODE_SIZE = 46.0
CROSS_SIZE = 7.0
CROSS_SQUARE = 6.0
CROSS_ARM_LENGTH = 3.89
CROSS_ARM_WIDTH = 1.17


def code_png(transfer: Mapping[str, str]) -> bytes | None:
    """The code of a transfer, whose facts name its text as ``girocode`` or ``swiss_qr``, if any."""
    if payload := transfer.get("swiss_qr"):
        return swiss_qr_png(payload)
    payload = transfer.get("girocode")
    return girocode_png(payload) if payload else None


def girocode_png(payload: str) -> bytes:
    """The code as PNG, black on opaque white with its quiet zone, so that it reads in dark mode.

    Raises ValueError if the payload is longer than the standard allows.
    """
    rows = _modules(payload, MAX_PAYLOAD_BYTES, "GiroCode")
    lines = [_packed(row) * PIXELS_PER_MODULE for row in _pixel_rows(rows)]
    return _png((len(rows) + 2 * QUIET_ZONE_MODULES) * PIXELS_PER_MODULE, b"".join(lines))


def swiss_qr_png(payload: str) -> bytes:
    """The code of a QR-bill as PNG, with the Swiss cross in its middle.

    46 mm of the bill are the picture without its quiet zone. Raises ValueError if the payload is
    longer than the standard allows.
    """
    rows = _modules(payload, MAX_SWISS_PAYLOAD_BYTES, "Swiss QR code")
    size = (len(rows) + 2 * QUIET_ZONE_MODULES) * PIXELS_PER_MODULE
    pixels = [
        bytearray(row.encode()) for row in _pixel_rows(rows) for _ in range(PIXELS_PER_MODULE)
    ]
    per_millimetre = len(rows) * PIXELS_PER_MODULE / SWISS_CODE_SIZE
    for width, height, colour in (
        (CROSS_SIZE, CROSS_SIZE, b"1"),
        (CROSS_SQUARE, CROSS_SQUARE, b"0"),
        (CROSS_ARM_LENGTH, CROSS_ARM_WIDTH, b"1"),
        (CROSS_ARM_WIDTH, CROSS_ARM_LENGTH, b"1"),
    ):
        _paint_middle(pixels, width * per_millimetre, height * per_millimetre, colour)
    return _png(size, b"".join(_packed(row.decode()) for row in pixels))


def _modules(payload: str, most_bytes: int, name: str) -> Sequence[bytes]:
    """Rows of modules, 1 is black, without the quiet zone; error correction M."""
    if len(payload.encode()) > most_bytes:
        raise ValueError(f"a {name} holds {most_bytes} bytes, not {len(payload.encode())}")
    code = segno.make_qr(
        payload, error="m", mode="byte", encoding="utf-8", boost_error=False, mask=MASK
    )
    return [bytes(row) for row in code.matrix]


def _pixel_rows(rows: Sequence[bytes]) -> list[str]:
    """One row of pixels for each row of modules, "1" is white, with the quiet zone."""
    quiet = _PIXELS[0] * QUIET_ZONE_MODULES
    blank = [_PIXELS[0] * (len(rows) + 2 * QUIET_ZONE_MODULES)] * QUIET_ZONE_MODULES
    inner = [quiet + row.decode().translate(_PIXELS) + quiet for row in rows]
    return blank + inner + blank


_PIXELS = {0: "1" * PIXELS_PER_MODULE, 1: "0" * PIXELS_PER_MODULE}
"""By module."""


def _paint_middle(pixels: list[bytearray], width: float, height: float, colour: bytes) -> None:
    """A rectangle round the centre; its sides are even like the picture's, so it is exact."""
    middle = len(pixels) // 2
    wide, high = round(width / 2), round(height / 2)
    for row in pixels[middle - high : middle + high]:
        row[middle - wide : middle + wide] = colour * (2 * wide)


def _packed(bits: str) -> bytes:
    """A row of pixels as a scanline of filter type 0, eight pixels a byte."""
    width = -(-len(bits) // 8)
    return b"\x00" + int(bits.ljust(width * 8, "1"), 2).to_bytes(width, "big")


def _png(pixels: int, scanlines: bytes) -> bytes:
    """One bit a pixel (PNG, ISO/IEC 15948). segno's own writer takes ten times as long."""
    header = pack(">IIBBBBB", pixels, pixels, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(content)) + name + content + pack(">I", zlib.crc32(name + content))
        for name, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(scanlines)),
            (b"IEND", b""),
        )
    )
