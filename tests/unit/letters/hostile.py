"""PDFs as shops make them, and as nobody should: written here object by object."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

A4 = (595.28, 841.89)
POINTS = 72 / 25.4


def invoice(
    lines: Sequence[str] = ("Erika Mustermann", "Heidestr. 17", "51147 Musterstadt"),
    *,
    pages: int = 1,
    size: tuple[float, float] = A4,
    left: float = 25.0,
    top: float = 62.0,
) -> bytes:
    """A plain invoice; ``left`` and ``top`` place its address, in millimetres."""
    return _pdf([_text(lines, left, top, size), *["BT ET"] * (pages - 1)], size)


def with_catalog(entry: str) -> bytes:
    """An entry of the document, such as what happens when it is opened."""
    return _pdf([_text(["Invoice"], 25, 62, A4)], A4, catalog=entry)


def with_page_entry(entry: str) -> bytes:
    return _pdf([_text(["Invoice"], 25, 62, A4)], A4, page=entry)


def with_loose_object(thing: str) -> bytes:
    """Something that nothing leads to; a viewer may find it by its number."""
    return _pdf([_text(["Invoice"], 25, 62, A4)], A4, more=thing)


def encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(invoice())))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    return _written(writer)


def enclosing(name: str) -> bytes:
    """An e-invoice encloses its XML (ISO 32000-1, 7.11.4)."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(invoice())))
    writer.add_attachment(name, b"<rsm:CrossIndustryInvoice/>")
    return _written(writer)


def hidden_in_a_stream_of_objects() -> bytes:
    """The script stands in a compressed stream of objects (ISO 32000-1, 7.5.7)."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(invoice())))
    action = DictionaryObject(
        {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("x()")}
    )
    writer.root_object[NameObject("/Deep")] = ArrayObject([writer._add_object(action)])
    return _written(writer)


def bomb() -> bytes:
    """Thirty kilobytes that unpack to a hundred megabytes on the page."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(invoice())))
    stream = DecodedStreamObject()
    stream.set_data(b"0 0 m " * 20_000_000)
    packed = stream.flate_encode(9)
    writer.pages[0][NameObject("/Contents")] = writer._add_object(packed)
    return _written(writer)


def loop() -> bytes:
    """A tree of pages whose branch is its own root."""
    return _pdf([_text(["Invoice"], 25, 62, A4)], A4).replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]")


def rotated() -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(invoice(size=(A4[1], A4[0])))))
    writer.pages[0][NameObject("/Rotate")] = NumberObject(90)
    return _written(writer)


def _written(writer: PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _text(lines: Sequence[str], left: float, top: float, size: tuple[float, float]) -> str:
    x, y = left * POINTS, size[1] - top * POINTS
    shown = " T* ".join(f"({line.translate(_ESCAPES)}) Tj" for line in lines)
    return f"BT /F1 10 Tf 12 TL {x:.2f} {y:.2f} Td {shown} ET"


_ESCAPES = str.maketrans({"(": r"\(", ")": r"\)", "\\": r"\\", "ß": r"\337", "ü": r"\374"})


def _pdf(
    contents: Sequence[str],
    size: tuple[float, float],
    *,
    catalog: str = "",
    page: str = "",
    more: str = "",
) -> bytes:
    """Objects, their table and the trailer (ISO 32000-1, 7.5)."""
    count = len(contents)
    kids = " ".join(f"{3 + number} 0 R" for number in range(count))
    font = 3 + 2 * count
    things = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Count {count} /Kids [{kids}] >>",
    ]
    for number in range(count):
        things.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}]"
            f" /Resources << /Font << /F1 {font} 0 R >> >>"
            f" /Contents {3 + count + number} 0 R {page} >>"
        )
    for text in contents:
        things.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    things.append(
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    )
    things += [more] if more else []
    return _file(things)


def _file(things: Sequence[str]) -> bytes:
    out, places = b"%PDF-1.7\n", []
    for number, thing in enumerate(things, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{thing}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(things) + 1}\n0000000000 65535 f \n{table}"
    tail = f"trailer\n<< /Size {len(things) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + (head + tail).encode()
