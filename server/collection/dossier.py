"""The dossier of a case as a ZIP: an index to read, the facts to compute with, and every paper.

    index.pdf      what it is about, on a few pages
    case.json      everything, documented in docs/collection.md
    postings.csv   what was paid, timeline.csv what happened
    invoices/      as the shop transferred them
    notices/       mails as they were sent (RFC 5322), letters as they were printed
    proofs/        what the customer sent

Pure: the papers come in, bytes go out; the same papers give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import typst

from server.collection.papers import Enclosure, Papers
from server.collection.words import words_for
from server.mail.languages import day, money

HERE: Final = Path(__file__).parent
FONTS: Final = HERE.parent / "letters" / "fonts"
MAX_DOSSIER_BYTES: Final = 40 * 1024 * 1024
"""Of enclosures; what is too much is left out and named, proofs first, then notices."""
MAX_ROWS: Final = 150
"""Of one section of the index; case.json has all."""
MAX_CELL: Final = 400
COMPRESSED: Final = (".json", ".csv", ".eml")
FIRST_SECONDS: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a ZIP can say; when a file was packed proves nothing."""
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
POSTING_COLUMNS: Final = (
    "kind amount currency booking_date value_date counterparty_name counterparty_iban"
    " remittance_information bank_reference noted_at is_after_hand_over"
).split()

Row = Sequence[str]


def write_dossier(papers: Papers) -> bytes:
    """The ZIP. ``case.json`` names under ``left_out`` what was too large."""
    kept, left_out = _fitting(papers.enclosures)
    facts = {**papers.facts, "left_out": left_out}
    files: list[tuple[str, bytes]] = [
        ("index.pdf", _index(facts, papers, [one.path for one in kept])),
        ("case.json", json.dumps(facts, ensure_ascii=False, indent=2).encode() + b"\n"),
        ("postings.csv", _csv(POSTING_COLUMNS, facts["payments"])),
        ("timeline.csv", _csv(("at", "kind", "facts"), facts["timeline"])),
        *((one.path, one.content) for one in kept),
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in files:
            entry = zipfile.ZipInfo(path, FIRST_SECONDS)
            entry.external_attr = 0o644 << 16
            is_text = path.endswith(COMPRESSED)
            entry.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
            archive.writestr(entry, content)
    return packed.getvalue()


def _fitting(enclosures: Sequence[Enclosure]) -> tuple[list[Enclosure], list[str]]:
    room, kept, left_out = MAX_DOSSIER_BYTES, set[str](), list[str]()
    for one in sorted(enclosures, key=lambda each: each.rank):
        if len(one.content) <= room:
            room -= len(one.content)
            kept.add(one.path)
        else:
            left_out.append(one.path)
    return [one for one in enclosures if one.path in kept], left_out


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """UTF-8 with a mark, as spreadsheets want it; no cell is ever a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    is_amount = text.startswith("-") and text[1:].replace(".", "", 1).isdecimal()
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not is_amount else text


# --- the index ----------------------------------------------------------------------------------


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, font_paths=[FONTS])


def _index(facts: Mapping[str, Any], papers: Papers, paths: Sequence[str]) -> bytes:
    """The PDF. No PDF/A: what our fonts have no letters for must not keep a case back."""
    told = _Index(facts, papers.language, papers.zone)
    page = {
        "title": told.say("title", reference=facts["case"]["reference"]),
        "intro": told.say(
            "intro",
            creditor=facts["creditor"]["name"],
            debtor=told.debtor or facts["order"]["number"],
        ),
        "none": told.say("none"),
        "language": papers.language[:2],
        "sections": [
            {"title": told.say(name), "rows": [_cut(row) for row in rows][:MAX_ROWS]}
            for name, rows in told.sections(paths)
        ],
    }
    return typst.compile(
        HERE / "templates" / "index.typ",
        root=HERE / "templates",
        font_paths=_fonts(),
        sys_inputs={"facts": json.dumps(page)},
        format="pdf",
    )


def _cut(row: Row) -> Row:
    return [cell if len(cell) <= MAX_CELL else f"{cell[: MAX_CELL - 1]}…" for cell in row]


class _Index:
    """The facts in the words of one language; days are those of the merchant."""

    def __init__(self, facts: Mapping[str, Any], language: str, zone: ZoneInfo) -> None:
        self.zone = zone
        self.facts, self.language = facts, "de" if language.startswith("de") else "en"
        self.words = words_for(language)
        self.currency: str = facts["claim"]["currency"]

    @property
    def debtor(self) -> str:
        debtor = self.facts["debtor"]
        return str(debtor["company"] or debtor["name"] or self.facts["order"]["number"])

    def say(self, key: str, **facts: str) -> str:
        return self.words[key].format(**facts)

    def sections(self, paths: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
        """(key of the title, rows); two cells or three."""
        yield "claim", list(self._claim())
        yield "debtor", list(self._debtor())
        yield "creditor", list(self._creditor())
        yield "items", [[_number(one["quantity"]), one["name"] or ""] for one in self._items()]
        yield (
            "invoices",
            [
                [one["number"], self._on(one["date"]), one["file"] or ""]
                for one in self.facts["invoices"]
            ],
        )
        yield "payments", [self._payment(one) for one in self.facts["payments"]]
        yield "notices", [self._notice(one) for one in self.facts["notices"]]
        yield "said", [self._saying(one) for one in self.facts["said_by_customer"]]
        yield "files", [[str(number), path] for number, path in enumerate(paths, 1)]
        if self.facts["left_out"]:
            yield "left_out", [["", path] for path in self.facts["left_out"]]

    def _items(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.facts["order"]["items"]
        return found

    def _money(self, text: str) -> str:
        return money(Decimal(text), self.currency, self.language)

    def _on(self, text: str | None) -> str:
        """A day or a moment, as a day."""
        if not text:
            return ""
        if not text.endswith("Z"):
            return day(date.fromisoformat(text), self.language)
        moment = datetime.fromisoformat(text)
        return day(moment.astimezone(self.zone).date(), self.language)

    def _claim(self) -> Iterator[Row]:
        claim, case, order = (self.facts[name] for name in ("claim", "case", "order"))
        for name in ("principal", "fees", "interest", "total"):
            if Decimal(claim[name]) or name in ("principal", "total"):
                told = [self._money(claim[name])]
                if name == "interest" and claim["interest_until"]:
                    told.append(self.say("interest_until", day=self._on(claim["interest_until"])))
                yield [self.say(name), ", ".join(told)]
        yield [self.say("order"), f"{order['number']}, {self._on(order['ordered_on'])}"]
        yield [self.say("order_total"), self._money(order["total"])]
        if order["due_date"]:
            yield [self.say("due_date"), self._on(order["due_date"])]
        yield [self.say("handed_over"), self._on(case["handed_over_at"])]
        yield [self.say("reason"), self.say(f"reason_{case['reason']}")]

    def _debtor(self) -> Iterator[Row]:
        debtor = self.facts["debtor"]
        for name in ("name", "company"):
            if debtor[name]:
                yield [self.say(name), debtor[name]]
        for name in ("address", "delivery_address"):
            lines = _lines(debtor[name])
            if lines:
                yield [self.say(name), "\n".join(lines)]
        for name in ("email", "phone", "customer_number", "vat_id"):
            if debtor[name]:
                yield [self.say(name), debtor[name]]

    def _creditor(self) -> Iterator[Row]:
        one = self.facts["creditor"]
        yield [self.say("name"), one["name"]]
        yield [self.say("shop"), ", ".join(each for each in (one["shop"], one["shop_url"]) if each)]
        contact = [each for each in (one["contact_name"], one["contact_phone"]) if each]
        if contact:
            yield [self.say("contact"), ", ".join(contact)]
        if one["iban"]:
            yield [self.say("account"), f"{one['account_holder']}, {one['iban']}"]

    def _payment(self, one: Mapping[str, Any]) -> Row:
        kinds = {
            "posting": "payment",
            "reversal": "payment_returned",
            "marked": "payment_marked",
            "difference": "payment_difference",
        }
        told = [self.say(kinds[one["kind"]]), one["counterparty_name"] or ""]
        if one["is_after_hand_over"]:
            told.append(self.say("after_hand_over"))
        on = self._on(one["booking_date"] or one["noted_at"])
        return [on, ", ".join(each for each in told if each), self._money(one["amount"])]

    def _notice(self, one: Mapping[str, Any]) -> Row:
        title = self.words.get(one["kind"], one["kind"])
        if one["level"]:
            title += f" ({self.say('level', level=str(one['level']))})"
        way = f"{self.say('by_' + one['channel'])} {self.say('to', recipient=one['recipient'])}"
        return [self._on(one["sent_at"]), f"{title}, {way}", one["file"] or ""]

    def _saying(self, one: Mapping[str, Any]) -> Row:
        keys = {"claims_paid": "said_paid", "asks_for_time": "said_time", "proof": "said_proof"}
        told = self.say(keys[one["kind"]], day=self._on(one["day"]))
        return [self._on(one["at"]), ": ".join(each for each in (told, one["message"]) if each)]


def _lines(address: Mapping[str, Any] | None) -> list[str]:
    if not address:
        return []
    name = " ".join(filter(None, [address["first_name"], address["last_name"]]))
    place = " ".join(filter(None, [address["postcode"], address["city"]]))
    lines = (address["company"], name, address["street"], place, address["country"])
    return [one for one in lines if one]


def _number(text: Any) -> str:
    return f"{text} ×" if text is not None else ""
