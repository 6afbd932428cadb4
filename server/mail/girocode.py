"""GiroCode: the QR code that fills in a SEPA credit transfer (EPC069-12, version 002).

A file of its own because it is a payment format, not wording: the customer's page and letters
show the same picture.
"""

from __future__ import annotations

import re
import zlib
from decimal import Decimal
from struct import pack

import segno

from server.check_digits import creditor_reference_is_valid, iban_is_valid

MAX_NAME_LENGTH = 70
MAX_TEXT_LENGTH = 140
MAX_PAYLOAD_BYTES = 331  # what QR version 13 holds at level M, the largest that banks must read
MIN_AMOUNT, MAX_AMOUNT = Decimal("0.01"), Decimal("999999999.99")
QUIET_ZONE_MODULES = 4  # ISO/IEC 18004
PIXELS_PER_MODULE = 6
# Trying all eight masks takes 7 ms, five times the rest of the code, to gain a little for bad
# cameras at bad paper. On a screen any mask reads, so every code uses the same.
MASK = 3

_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_LINE_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def girocode_payload(
    *, creditor: str, iban: str, bic: str, amount: Decimal, currency: str, reference: str
) -> str | None:
    """The text of the code, or None where the standard knows none (not EUR, no valid IBAN ...).

    ``amount`` always gets two decimals: that is what the customer compares with the mail. A
    valid ISO 11649 reference (``RF18...``) goes into the structured field, which banks check;
    anything else into the unstructured one. A name over 70 characters is cut, as in SEPA itself.
    """
    iban, bic, reference = _compact(iban), _compact(bic), _one_line(reference)
    name = _one_line(creditor)[:MAX_NAME_LENGTH].rstrip()
    if currency != "EUR" or not name or not iban_is_valid(iban):
        return None
    if not MIN_AMOUNT <= amount <= MAX_AMOUNT or amount != amount.quantize(MIN_AMOUNT):
        return None
    structured = _compact(reference) if creditor_reference_is_valid(_compact(reference)) else ""
    text = "" if structured else reference
    if len(text) > MAX_TEXT_LENGTH:
        return None
    fields = ["BCD", "002", "1", "SCT", bic if _BIC.fullmatch(bic) else "", name, iban]
    fields += [f"EUR{amount:.2f}", "", structured, text]
    payload = "\n".join(fields).rstrip("\n")
    return payload if len(payload.encode()) <= MAX_PAYLOAD_BYTES else None


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


def _compact(code: str) -> str:
    return "".join(code.split()).upper()


def _one_line(text: str) -> str:
    return " ".join(_LINE_BREAKING.sub(" ", text).split())
