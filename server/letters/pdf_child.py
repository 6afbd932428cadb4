"""Reads PDFs of strangers, in a process of its own with little memory and little time.

A file of its own because it never runs anywhere else: what a hostile file does to the parser, it
does here. ``pdfs.py`` starts it for each question, gives it the question and the files on stdin
and reads one line of JSON, and the bytes behind it, from stdout. It imports nothing of the house.

The question is one line of JSON, {"ask": "check" | "window" | "merge", "sizes": [bytes, ...],
"most_pages": n}, then the files. The answer is {"pages": n}, {"windows": [text, ...]}, {"size": n}
with the file behind it, or {"refused": key}.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

CPU_SECONDS = 20
MEMORY_BYTES = 768 * 1024 * 1024
MAX_OBJECTS = 100_000
POINTS_A_MILLIMETRE = 72 / 25.4
A4_MILLIMETRES = (210.0, 297.0)
TOLERANCE_MILLIMETRES = 3.0
WINDOWS = ((18.0, 25.0, 112.0, 72.0), (18.0, 42.0, 112.0, 92.0), (105.0, 38.0, 205.0, 95.0))
"""Address windows from the upper left corner, left, top, right, bottom, in millimetres with some
room: DIN 5008 form A and form B, and that on the right of Swiss envelopes."""
MAX_WINDOW_LETTERS = 2_000

_SCRIPTS = ("/JS", "/JavaScript")
_ACTS = frozenset(
    "/Launch /SubmitForm /ImportData /GoToR /GoToE /Rendition /Movie /Sound /ResetForm /Trans"
    " /SetOCGState /GoTo3DView /RichMediaExecute".split()
)
_MEDIA = frozenset("/RichMedia /Movie /Sound /Screen /3D".split())
_PROGRAMS = tuple(
    ".exe .com .bat .cmd .scr .pif .msi .dll .js .jse .vbs .vbe .wsf .ps1 .psm1 .hta .jar .lnk .reg"
    " .sh .app .apk .dmg .iso .docm .xlsm .pptm".split()
)


class Refused(Exception):
    """``args[0]`` is the key."""


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    question = json.loads(sys.stdin.buffer.readline())
    files = [sys.stdin.buffer.read(size) for size in question["sizes"]]
    try:
        answer, content = ANSWERS[question["ask"]](files, question)
    except Refused as refused:
        answer, content = {"refused": refused.args[0]}, b""
    except (MemoryError, RecursionError):
        answer, content = {"refused": "too_complex"}, b""
    except Exception:  # whatever the parser trips over, the file is the reason
        answer, content = {"refused": "broken"}, b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + content)
    sys.stdout.buffer.flush()
    return 0


Answer = tuple[dict[str, Any], bytes]


def check(files: list[bytes], question: dict[str, Any]) -> Answer:
    """How many pages it has, if it is harmless and can be printed on A4."""
    reader = _reader(files[0])
    _check_objects(reader)
    pages = len(reader.pages)
    if pages == 0:
        raise Refused("broken")
    if pages > question["most_pages"]:
        raise Refused("too_many_pages")
    for page in reader.pages:
        _check_size(page)
    return {"pages": pages}, b""


def window(files: list[bytes], _: dict[str, Any]) -> Answer:
    """What stands on page 1 where envelopes have their window."""
    page = _reader(files[0]).pages[0]
    runs = list(_runs(page))
    return {"windows": [_text_in(box, runs) for box in WINDOWS]}, b""


def merge(files: list[bytes], question: dict[str, Any]) -> Answer:
    """One file of all pages, without what belongs to a document as a whole."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    for file in files:
        writer.append(io.BytesIO(file), import_outline=False)
        if len(writer.pages) > question["most_pages"]:
            raise Refused("too_many_pages")
    out = io.BytesIO()
    writer.write(out)
    content = out.getvalue()
    return {"size": len(content), "pages": len(writer.pages)}, content


ANSWERS = {"check": check, "window": window, "merge": merge}


def _reader(content: bytes) -> Any:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted:
            raise Refused("encrypted")
        len(reader.pages)
    except PyPdfError:
        raise Refused("broken") from None
    return reader


# --- what it may not hold -----------------------------------------------------------------------


def _check_objects(reader: Any) -> None:
    """Every object that the file leads to, wherever it stands: a viewer may find it too."""
    for thing in _things(reader):
        if isinstance(thing, dict):
            _check_dictionary(thing)


def _things(reader: Any) -> Iterator[Any]:
    """Walks the file from its trailer, and what only the table of objects knows."""
    from pypdf.generic import IndirectObject

    seen: set[int] = set()
    waiting: list[Any] = [reader.trailer]
    waiting += [
        IndirectObject(number, generation, reader)
        for generation, objects in reader.xref.items()
        for number in objects
        if number
    ]
    waiting += [IndirectObject(number, 0, reader) for number in reader.xref_objStm]
    count = 0
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, IndirectObject):
            if thing.idnum in seen:
                continue
            seen.add(thing.idnum)
            thing = thing.get_object()
        count += 1
        if count > MAX_OBJECTS:
            raise Refused("too_complex")
        yield thing
        if isinstance(thing, dict):
            waiting += [dict.__getitem__(thing, name) for name in thing]
        elif isinstance(thing, list):
            waiting += [list.__getitem__(thing, at) for at in range(len(thing))]


def _check_dictionary(thing: Any) -> None:
    if any(name in thing for name in _SCRIPTS) or thing.get("/S") == "/JavaScript":
        raise Refused("scripts")
    if "/XFA" in thing:
        raise Refused("form_xfa")
    kind = thing.get("/S")
    if kind in _ACTS:
        raise Refused("actions")
    if kind == "/URI" and not str(thing.get("/URI", "")).lower().startswith(_LINKS):
        raise Refused("actions")
    if thing.get("/Subtype") in _MEDIA:
        raise Refused("media")
    if thing.get("/Type") in ("/Filespec", "/F") or "/EF" in thing:
        names = (str(thing.get(name, "")).lower().strip() for name in ("/F", "/UF", "/DOS"))
        if any(name.endswith(_PROGRAMS) for name in names):
            raise Refused("program_enclosed")


_LINKS = ("http://", "https://", "mailto:", "tel:")


def _check_size(page: Any) -> None:
    unit = float(page.get("/UserUnit", 1))
    width, height = float(page.cropbox.width) * unit, float(page.cropbox.height) * unit
    if page.rotation % 180:
        width, height = height, width
    for points, wanted in zip((width, height), A4_MILLIMETRES, strict=True):
        if abs(points / POINTS_A_MILLIMETRE - wanted) > TOLERANCE_MILLIMETRES:
            raise Refused("page_size")


# --- the address --------------------------------------------------------------------------------


def _runs(page: Any) -> Iterator[tuple[float, float, str]]:
    """Pieces of text with their place, in millimetres from the upper left corner."""
    found: list[tuple[float, float, str]] = []
    left, top = float(page.cropbox.left), float(page.cropbox.top)

    def visit(text: str, matrix: list[float], text_matrix: list[float], *_: Any) -> None:
        x = text_matrix[4] * matrix[0] + text_matrix[5] * matrix[2] + matrix[4]
        y = text_matrix[4] * matrix[1] + text_matrix[5] * matrix[3] + matrix[5]
        if text.strip():
            found.append(((x - left) / POINTS_A_MILLIMETRE, (top - y) / POINTS_A_MILLIMETRE, text))

    page.extract_text(visitor_text=visit)
    yield from found


def _text_in(box: tuple[float, float, float, float], runs: list[tuple[float, float, str]]) -> str:
    left, top, right, bottom = box
    inside = [run for run in runs if left <= run[0] <= right and top <= run[1] <= bottom]
    text = "\n".join(text.strip() for _, _, text in sorted(inside, key=lambda run: run[1]))
    return text[:MAX_WINDOW_LETTERS]


if __name__ == "__main__":
    sys.exit(main())
