"""Proofs of payment as customers' banks make them, written for the tests."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pypdf import PdfWriter

FONT = b"/Resources << /Font << /F1 5 0 R >> >>"
ESCAPED = {ord(one): "\\" + one for one in "()\\"}


def text_pdf(lines: Sequence[str]) -> bytes:
    """A page with these lines in Helvetica (ISO 32000-1, 9.4.3); Latin-1 only."""
    shown = "\n".join(f"({line.translate(ESCAPED)}) Tj T*" for line in lines)
    stream = f"BT /F1 11 Tf 14 TL 50 780 Td\n{shown}\nET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %s >>" % FONT,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    content, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        content
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(content)
    )


def locked_pdf(content: bytes, password: str) -> bytes:
    """The same, which opens with a password only."""
    writer = PdfWriter(clone_from=io.BytesIO(content))
    writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def endless_pdf() -> bytes:
    """A page tree that contains itself."""
    return text_pdf(["x"]).replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]")
