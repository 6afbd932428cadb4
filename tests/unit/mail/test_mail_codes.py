"""The picture of a payment's QR code holds its text.

No QR reader is installed, so the picture is read back here, from pixels to text, by a small
reader of its own (ISO/IEC 18004: format, mask, order of the modules, blocks, byte mode). It does
no error correction: a picture with a wrong module must fail.
"""

from __future__ import annotations

import struct
import zlib

import pytest

from server.mail.codes import (
    MAX_PAYLOAD_BYTES,
    MAX_SWISS_PAYLOAD_BYTES,
    girocode_png,
    swiss_qr_png,
)
from tests.unit.mail.samples import GIROCODE, SWISS_QR

SCALE, QUIET = 6, 4
# ISO/IEC 18004 tables 1, 9 and E.1 for level M: version: (error bytes a block, [(blocks, bytes)])
BLOCKS = {
    4: (18, [(2, 32)]),
    5: (24, [(2, 43)]),
    6: (16, [(4, 27)]),
    7: (18, [(4, 31)]),
    8: (22, [(2, 38), (2, 39)]),
    9: (22, [(3, 36), (2, 37)]),
    10: (26, [(4, 43), (1, 44)]),
    11: (30, [(1, 50), (4, 51)]),
    12: (22, [(6, 36), (2, 37)]),
    13: (22, [(8, 37), (1, 38)]),
}
CENTRES = {
    4: (6, 26),
    5: (6, 30),
    6: (6, 34),
    7: (6, 22, 38),
    8: (6, 24, 42),
    9: (6, 26, 46),
    10: (6, 28, 50),
    11: (6, 30, 54),
    12: (6, 32, 58),
    13: (6, 34, 62),
}


@pytest.mark.feature("K18", "K19")
@pytest.mark.parametrize(
    "text",
    [
        GIROCODE,
        GIROCODE.replace("COBADEFFXXX", "").replace("Annas", "Büchertruhe Müßiggang & Söhne"),
        GIROCODE.replace("K4WX7P9MQ2", "x" * 120),
        GIROCODE + "x" * (MAX_PAYLOAD_BYTES - len(GIROCODE)),
    ],
)
def test_the_picture_holds_the_payload(text: str) -> None:
    assert _read_code(girocode_png(text)) == text


def test_the_quiet_zone_is_white_and_opaque() -> None:
    pixels, header = _pixels(girocode_png(GIROCODE))
    assert header[2:] == (1, 0, 0, 0, 0)  # one bit, grey, no alpha
    zone = QUIET * SCALE
    for row in (*pixels[:zone], *pixels[-zone:]):
        assert set(row) == {1}
    for row in pixels:
        assert set(row[:zone]) == set(row[-zone:]) == {1}
    assert pixels[zone][zone] == 0


def test_too_long_for_the_standard() -> None:
    with pytest.raises(ValueError, match="331 bytes"):
        girocode_png("x" * (MAX_PAYLOAD_BYTES + 1))


@pytest.mark.feature("K19")
def test_the_swiss_code_is_the_payload_with_a_cross_in_its_middle() -> None:
    """SIX, QR-bill 6.4.2: 7 of 46 mm, a white border, a black square, a white cross."""
    pixels, _ = _pixels(swiss_qr_png(SWISS_QR))
    plain, _ = _pixels(girocode_png(SWISS_QR))
    assert _read_code(girocode_png(SWISS_QR)) == SWISS_QR
    size, middle = len(plain), len(plain) // 2
    assert len(pixels) == size
    covered = [
        (x, y)
        for y in range(size)
        for x in range(size)
        if max(abs(x - middle + 0.5), abs(y - middle + 0.5)) < (size - 2 * QUIET * SCALE) * 7 / 92
    ]
    hidden = set(covered)
    for y in range(size):
        for x in range(size):
            if (x, y) not in hidden:
                assert pixels[y][x] == plain[y][x]
    side = round(len(covered) ** 0.5)
    assert side * side == len(covered)
    assert side == pytest.approx((size - 2 * QUIET * SCALE) * 7 / 46, abs=2)
    row = pixels[middle][middle - side // 2 : middle + side // 2]
    assert _runs(row) == [1, 0, 1, 0, 1]  # border, square, arm, square, border
    corner = pixels[middle - side // 4][middle - side // 2 : middle + side // 2]
    assert _runs(corner) == [1, 0, 1, 0, 1]
    edge = pixels[middle - side // 2 + 1][middle - side // 2 : middle + side // 2]
    assert _runs(edge) == [1]


def _runs(row: list[int]) -> list[int]:
    return [colour for at, colour in enumerate(row) if at == 0 or row[at - 1] != colour]


def test_the_swiss_code_has_its_own_limit() -> None:
    assert swiss_qr_png("x" * MAX_SWISS_PAYLOAD_BYTES)
    with pytest.raises(ValueError, match="997 bytes"):
        swiss_qr_png("x" * (MAX_SWISS_PAYLOAD_BYTES + 1))


def _pixels(png: bytes) -> tuple[list[list[int]], tuple[int, ...]]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(
            name + content
        )
        chunks[name], at = content, at + 12 + size
    header = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    width, height = header[:2]
    line = 1 + -(-width // 8)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == line * height
    found = []
    for number in range(height):
        row = rows[number * line : (number + 1) * line]
        assert row[0] == 0
        bits = "".join(f"{byte:08b}" for byte in row[1:])
        found.append([int(bit) for bit in bits[:width]])
    return found, header


def _read_code(png: bytes) -> str:
    pixels, _ = _pixels(png)
    zone, centre = QUIET * SCALE, SCALE // 2
    size = (len(pixels) - 2 * zone) // SCALE
    dark = [
        [1 - pixels[zone + y * SCALE + centre][zone + x * SCALE + centre] for x in range(size)]
        for y in range(size)
    ]
    version = (size - 17) // 4
    form = int("".join(str(dark[8][x]) for x in (0, 1, 2, 3, 4)), 2) ^ 0b10101
    assert form >> 3 == 0, "error correction level M"
    assert form & 7 == 3, "mask 3"
    codewords = _codewords(dark, version)
    error_bytes, groups = BLOCKS[version]
    sizes = [length for blocks, length in groups for _ in range(blocks)]
    assert len(codewords) == sum(sizes) + error_bytes * len(sizes)
    blocks: list[list[int]] = [[] for _ in sizes]
    stream = iter(codewords)
    for position in range(max(sizes)):
        for block, length in zip(blocks, sizes, strict=True):
            if position < length:
                block.append(next(stream))
    bits = "".join(f"{byte:08b}" for block in blocks for byte in block)
    at = 0
    if bits[:4] == "0111":  # ECI 26: UTF-8
        assert int(bits[4:12], 2) == 26
        at = 12
    assert bits[at : at + 4] == "0100", "byte mode"
    count = 8 if version < 10 else 16
    length = int(bits[at + 4 : at + 4 + count], 2)
    start = at + 4 + count
    return bytes(int(bits[i : i + 8], 2) for i in range(start, start + 8 * length, 8)).decode()


def _codewords(dark: list[list[int]], version: int) -> list[int]:
    size = len(dark)
    bits = []
    for pair, right in enumerate(x for x in range(size - 1, 0, -2) if x > 6):
        bits += _column(dark, version, right, upwards=pair % 2 == 0)
    upwards = ((size - 7) // 2) % 2 == 0
    for right in (5, 3, 1):
        bits += _column(dark, version, right, upwards=upwards)
        upwards = not upwards
    whole = len(bits) // 8 * 8
    return [int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, whole, 8)]


def _column(dark: list[list[int]], version: int, right: int, *, upwards: bool) -> list[int]:
    size = len(dark)
    rows = range(size - 1, -1, -1) if upwards else range(size)
    return [
        dark[y][x] ^ ((x + y) % 3 == 0)
        for y in rows
        for x in (right, right - 1)
        if not _is_function(x, y, size, version)
    ]


def _is_function(x: int, y: int, size: int, version: int) -> bool:
    if x == 6 or y == 6:
        return True
    if (x < 9 and y < 9) or (x < 9 and y >= size - 8) or (x >= size - 8 and y < 9):
        return True
    if version >= 7 and ((x < 6 and y >= size - 11) or (y < 6 and x >= size - 11)):
        return True
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    return any(
        abs(x - a) <= 2 and abs(y - b) <= 2
        for a in CENTRES[version]
        for b in CENTRES[version]
        if (a, b) not in corners
    )
