"""XML as banks send it, with the mistakes mended that would end the reading of all the rest."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

from server.banking.formats import fields

HEAD_BYTES = 4096
LONGEST_REFERENCE_BYTES = 10

_DECLARED = re.compile(rb"""(<\?xml[^>]*encoding\s*=\s*["'])([A-Za-z0-9._:-]+)(?=["'])""")
_GUESSED = "utf-8"
# A file in single bytes that says one of these is in UTF-8 or in what Windows calls Latin 1.
_CONFUSED = {_GUESSED, "ascii", "iso8859-1", "cp1252"}
_CONFUSED |= {f"utf-{width}{order}" for width in ("16", "32") for order in ("", "-le", "-be")}
_SINGLE_BYTE = re.compile(r"iso8859-\d+|cp125\d|ascii|cp850|cp437")
# The root's default namespace, unless it has a prefix as well. Without it every name is short, and
# the reading a tenth faster.
_DEFAULT_NAMESPACE = re.compile(
    rb"""(<Document\b(?![^<>]*\sxmlns:[^\s=<>]+\s*=\s*["'][^"'<>]*iso:20022)[^<>]*?)"""
    rb"""\sxmlns\s*=\s*(?:"[^"]*"|'[^']*')"""
)
# What XML 1.0 forbids, and an ampersand that begins no entity a statement may use.
_FORBIDDEN = bytes(code for code in range(32) if code not in b"\t\n\r")
_FORBIDDEN_REFERENCE = re.compile(
    rb"&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:1?[0-8bcef]|1[9ad]));"
)
_CDATA = b"<![CDATA["
_OUTSIDE_CDATA = re.compile(rb"(<!\[CDATA\[.*?(?:\]\]>|\Z))", re.DOTALL)
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")


class Mended:
    """A file's stream for the XML parser.

    Banks send text that claims to be UTF-8 and is Windows-1252 or the other way round, names with
    a bare ``&``, and control characters. What is right costs a validity check for each block. The
    root's default namespace is left out, and what is in single bytes comes out as UTF-8.
    """

    def __init__(self, source: BinaryIO) -> None:
        start = source.tell()
        self.head = source.read(HEAD_BYTES)
        source.seek(start)
        self._source = source
        self._encoding = _encoding(self.head)
        self._rest = b""
        self._is_first = True

    def read(self, size: int = -1) -> bytes:
        """The next block; shorter or longer than asked for, and empty only at the end."""
        block = self._source.read(size)
        if self._encoding is None:
            return block
        is_last = not block
        block, self._rest = self._rest + block, b""
        if self._is_first:
            self._is_first = False
            # Nothing may stand before the declaration.
            block = block.lstrip(b"\xef\xbb\xbf \t\r\n")
            block = _DECLARED.sub(rb"\1UTF-8", block, count=1)
            block = _DEFAULT_NAMESPACE.sub(rb"\1", block, count=1)
        if not is_last:
            block = self._hold_back(block)
        block = block.translate(None, _FORBIDDEN)
        if b"&" in block:
            block = _escaped(block)
        if not _is_utf8(block):
            block = b"".join(map(self._mended, block.splitlines(keepends=True)))
        return block if block or is_last else b" "

    def _hold_back(self, block: bytes) -> bytes:
        """The block without a letter or a reference that goes on in the next one."""
        begin = block.rfind(b"&", -LONGEST_REFERENCE_BYTES)
        if begin < 0:
            try:
                block.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.end == len(block):
                    begin = error.start
        if begin <= 0:
            return block
        self._rest = block[begin:]
        return block[:begin]

    def _mended(self, line: bytes) -> bytes:
        """A line as UTF-8; one that is not goes by the declared encoding, if that is another."""
        assert self._encoding is not None
        if _is_utf8(line):
            return line
        if self._encoding == _GUESSED:
            return fields.decode(line).encode("utf-8")
        return line.decode(self._encoding, errors="replace").encode("utf-8")


def _escaped(block: bytes) -> bytes:
    """The block with references that XML knows only; in CDATA an ampersand is itself."""
    if _CDATA in block:
        pieces = _OUTSIDE_CDATA.split(block)
        return b"".join(one if one.startswith(_CDATA) else _escaped(one) for one in pieces)
    return _BARE_AMPERSAND.sub(b"&amp;", _FORBIDDEN_REFERENCE.sub(b"", block))


def _encoding(head: bytes) -> str | None:
    """The encoding that bytes which are no UTF-8 are read in; None: the parser sees to it."""
    if b"\x00" in head[:4] or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    declared = _DECLARED.search(head)
    try:
        name = codecs.lookup(declared[2].decode("ascii")).name if declared else _GUESSED
    except LookupError:
        return _GUESSED
    if name in _CONFUSED:
        return _GUESSED
    return name if _SINGLE_BYTE.fullmatch(name) else None


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
