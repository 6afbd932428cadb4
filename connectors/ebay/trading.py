"""The little of eBay's Trading API that has no successor. XML both ways, HTTP 200 even if it fails.

The order of the elements matters; it is that of the schema urn:ebay:apis:eBLBaseComponents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from plugin_sdk.errors import ConnectorError, LoginNeeded, Rejected, Temporary

NAMESPACE = "urn:ebay:apis:eBLBaseComponents"
COMPATIBILITY_LEVEL = "1379"
SITES = {
    "EBAY_AT": "16", "EBAY_AU": "15", "EBAY_CA": "2", "EBAY_CH": "193", "EBAY_DE": "77",
    "EBAY_ES": "186", "EBAY_FR": "71", "EBAY_GB": "3", "EBAY_IE": "205", "EBAY_IT": "101",
    "EBAY_NL": "146", "EBAY_PL": "212", "EBAY_US": "0",
}  # fmt: skip
MAX_ANSWER_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_ERRORS = 20
BAD_TOKEN_CODES = frozenset({"931", "932", "16110", "16112", "17470", "21916984", "21917053"})
LIMIT_CODES = frozenset({"518"})
LIMIT_SECONDS = 3600
SUCCESSES = frozenset({"Success", "Warning"})


class BadToken(LoginNeeded):
    """eBay does not take the access token; a new one may help."""


@dataclass(frozen=True, slots=True)
class TradingError:
    """One of the <Errors> of an answer. ``kind``: RequestError or SystemError."""

    code: str
    text: str
    kind: str
    is_warning: bool


@dataclass(frozen=True, slots=True)
class TradingAnswer:
    """What counts in an answer."""

    ack: str
    timestamp: str
    errors: tuple[TradingError, ...]


def complete_sale(order_id: str) -> bytes:
    """The body that marks an order as paid."""
    return _request("CompleteSale", ("Paid", "true"), ("OrderID", order_id))


def official_time() -> bytes:
    """The body that asks for the time: it changes nothing and needs a good token."""
    return _request("GeteBayOfficialTime")


def _request(call: str, *elements: tuple[str, str]) -> bytes:
    root = ElementTree.Element(f"{call}Request", {"xmlns": NAMESPACE})
    for name, text in elements:
        ElementTree.SubElement(root, name).text = text
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def read_answer(raw: bytes, call: str) -> TradingAnswer:
    """The answer to a call. Raises Temporary for what is no such answer (a web page, cut XML)."""
    if len(raw) > MAX_ANSWER_BYTES:
        raise Rejected("eBay answered with too much.")
    reader = _Reader(f"{call}Response")
    try:
        reader.parser.Parse(raw, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise Temporary("eBay answered with something that is no answer to the call.") from None
    ack = reader.texts.get(("Ack",), "")
    if not ack:
        raise Temporary("eBay did not say whether the call succeeded.")
    return TradingAnswer(ack, reader.texts.get(("Timestamp",), ""), tuple(reader.errors))


def raise_failure(answer: TradingAnswer) -> None:
    """Raises BadToken, Temporary or Rejected for an answer that is no success."""
    if answer.ack in SUCCESSES:
        return
    errors = [error for error in answer.errors if not error.is_warning] or list(answer.errors)
    first = errors[0] if errors else TradingError("", "no reason given", "", is_warning=False)
    raise _failure(first)


def _failure(error: TradingError) -> ConnectorError:
    words = f"eBay refused (error {error.code or '?'}: {error.text})."
    if error.code in BAD_TOKEN_CODES:
        return BadToken(words)
    if error.code in LIMIT_CODES:
        return Temporary(words, LIMIT_SECONDS)
    return Temporary(words) if error.kind == "SystemError" else Rejected(words)


class _Reader:
    """Collects texts by their path below the root; refuses document types, and with them entities.

    expat itself fetches nothing and expands no entity that was not declared.
    """

    def __init__(self, root: str) -> None:
        self.texts: dict[tuple[str, ...], str] = {}
        self.errors: list[TradingError] = []
        self._root = f"{NAMESPACE} {root}"
        self._path: list[str] = []
        self._error: dict[str, str] = {}
        self._text = ""
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add
        self.parser.buffer_text = True

    def _refuse(self, *_: Any) -> None:
        raise ValueError("a document type")

    def _start(self, name: str, _: Any) -> None:
        if not self._path and name != self._root:
            raise ValueError("another answer")
        if len(self._path) >= MAX_DEPTH:
            raise ValueError("too deep")
        self._path.append(name.rpartition(" ")[2])
        self._text = ""

    def _add(self, text: str) -> None:
        self._text += text

    def _end(self, _: str) -> None:
        path = tuple(self._path[1:])
        text = " ".join(self._text.split())
        self._path.pop()
        self._text = ""
        if path[:1] != ("Errors",):
            self.texts.setdefault(path, text)
        elif len(path) == 2:
            self._error[path[1]] = text
        elif len(path) == 1 and len(self.errors) < MAX_ERRORS:
            self.errors.append(_error_from(self._error))
            self._error = {}


def _error_from(found: dict[str, str]) -> TradingError:
    return TradingError(
        code=found.get("ErrorCode", ""),
        text=found.get("LongMessage") or found.get("ShortMessage", ""),
        kind=found.get("ErrorClassification", ""),
        is_warning=found.get("SeverityCode") == "Warning",
    )
