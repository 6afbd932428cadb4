"""How people write: order numbers, words around them, names on bank accounts, slips of the pen.

Values in, texts out; nothing here knows which order a text is about.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from random import Random
from typing import Final

from bench.matching import names
from bench.matching.names import Person

WRAP_WIDTH: Final = 27
"""Characters a line of the purpose has in MT940 and in what is made from it."""
LEADS: Final = tuple(
    " ".join(lead.split())
    for lead in """Bestellung|Bestellung Nr.|Bestellnummer:|Bestellnr.|Best.-Nr.|Best.Nr|Auftrag|
    Auftragsnr.|Auftragsnummer|Order|Order No.|Ihre Bestellung|Bezahlung|Zahlung fuer|Nr.|Kauf|
    Onlinebestellung|fuer|für Bestellung|Einkauf|Vorkasse|Vorkasse Bestellung|Verwendungszweck|VWZ|
    Bestell-Nr.:|Bestellnr|Bestellung:|Ueberweisung Bestellung|meine Bestellung|Webshop|Shop|
    Bestätigung|Auftragsbestätigung|commande|bestelling|order number""".split("|")
)
INVOICE_LEADS: Final = tuple(
    "Rechnung|Rechnungsnr.|Rechnungsnummer|Rg.-Nr.|Rg.Nr.|RNr|Re.Nr.|Re.-Nr.:|Rechnung Nr.|Rechn.|"
    "Invoice|Inv.|Rgnr|zu Rechnung".split("|")
)
PLAIN_WORDS: Final = (
    "Danke", "Einkauf", "Bestellung", "Vielen Dank", "Rechnung", "Onlineshop", "Ueberweisung", "",
    "Buecher", "Geschenk", "Ihre Lieferung", "Bezahlung Bestellung", "wie besprochen", "Ware",
    "Zahlung Ihrer Rechnung", "Shopbestellung", "Danke für die schnelle Lieferung", "Bilder",
)  # fmt: skip
MONTHS: Final = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September",
                 "Oktober", "November", "Dezember")  # fmt: skip
LOOK_ALIKE: Final = {
    "0": "O", "O": "0", "1": "I", "I": "1", "L": "1", "5": "S", "S": "5",
    "8": "B", "B": "8", "2": "Z", "Z": "2", "6": "G", "G": "6",
}  # fmt: skip
UMLAUTS: Final = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
MADE_PLAIN: Final = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "Ł": "L", "ı": "i", "Ø": "O"})


# --- Numbers ----------------------------------------------------------------------------------


def core_start(number: str) -> int:
    """Where the part begins that tells the orders of a shop apart: behind the prefix."""
    if number.count("-") == 1:
        return number.index("-") + 1
    found = re.match(r"(?:[A-Z]+|#)(?=\d{4,}$)", number)
    return found.end() if found else 0


def core(number: str) -> str:
    """The number without the shop's prefix."""
    return number[core_start(number) :]


def separated(rng: Random, number: str) -> str:
    """The same number with other separators, or none."""
    mark = rng.choice(("", " ", " ", " - ", "/", ":", ".", "_", ", "))
    if number.count("-") > 1:
        return number.replace("-", mark)
    start = core_start(number)
    if start:
        return f"{number[:start].rstrip('-')}{mark}{number[start:]}"
    cut = len(number) // 2 if len(number) < 8 else len(number) - rng.choice((3, 4))
    return f"{number[:cut]}{rng.choice((' ', '.', '-'))}{number[cut:]}"


def substituted(rng: Random, number: str) -> str:
    """One character replaced by another of its class."""
    at = _editable(rng, number)
    alphabet = "0123456789" if number[at].isdigit() else "ABCDEFGHJKLMNPQRSTUVWXYZ"
    return (
        number[:at] + rng.choice([one for one in alphabet if one != number[at]]) + number[at + 1 :]
    )


def swapped(rng: Random, number: str) -> str:
    """Two neighbouring characters swapped."""
    start = core_start(number)
    pairs = [at for at in range(start, len(number) - 1) if number[at] != number[at + 1]]
    pairs = [at for at in pairs if number[at].isalnum() and number[at + 1].isalnum()]
    if not pairs:
        return number
    at = rng.choice(pairs)
    return number[:at] + number[at + 1] + number[at] + number[at + 2 :]


def dropped(rng: Random, number: str) -> str:
    """One character missing."""
    at = _editable(rng, number)
    return number[:at] + number[at + 1 :]


def doubled(rng: Random, number: str) -> str:
    """One character typed twice."""
    at = _editable(rng, number)
    return number[:at] + number[at] + number[at:]


def mistaken(rng: Random, number: str) -> str:
    """One or two characters read as others that look like them; ``number`` if none does."""
    places = [at for at in range(core_start(number), len(number)) if number[at] in LOOK_ALIKE]
    for at in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
        number = number[:at] + LOOK_ALIKE[number[at]] + number[at + 1 :]
    return number


def twice_mistyped(rng: Random, number: str) -> str:
    """Two slips in one number."""
    slips: tuple[Callable[[Random, str], str], ...] = (substituted, swapped, dropped, doubled)
    return rng.choice(slips)(rng, rng.choice(slips)(rng, number))


def truncated(rng: Random, number: str) -> str:
    """The last one or two characters missing."""
    return number[: -rng.choice((1, 1, 2))]


def _editable(rng: Random, number: str) -> int:
    places = [at for at in range(core_start(number), len(number)) if number[at].isalnum()]
    return rng.choice(places)


# --- Words around a number --------------------------------------------------------------------


def lead_and_tail(rng: Random, number: str, tail: str) -> str:
    """The number with words before it, behind it or both."""
    lead = rng.choice(LEADS)
    space = rng.choice((" ", " ", " ", "", "  ", ": ")) if not lead.endswith(":") else " "
    kind = rng.random()
    if kind < 0.55:
        text = f"{lead}{space}{number}"
    elif kind < 0.85:
        text = f"{lead}{space}{number} {tail}"
    else:
        text = f"{number} {tail}" if kind < 0.95 else f"{tail} {lead} {number}"
    return text.upper() if rng.random() < 0.12 else text


def tail(rng: Random, who: str, customer_number: str, on: date, amount: str) -> str:
    """What else people and their banks put into a purpose."""
    return rng.choice(
        (
            "danke",
            "MfG",
            "vielen Dank",
            "vielen Dank " + who,
            who,
            who,
            f"vom {on:%d.%m.%Y}",
            f"vom {on.day}.{on.month}.{on:%y}",
            f"DATUM {on:%d.%m.%Y}, {rng.randrange(6, 23)}.{rng.randrange(60):02} UHR",
            f"DATUM {on:%d.%m.%Y}, 10.{rng.randrange(60):02} UHR 1.TAN {rng.randrange(10**6)}",
            f"TAN {rng.randrange(10**6):06}",
            f"Kd.Nr. {customer_number}",
            f"Kundennummer {customer_number}",
            f"EUR {amount.replace('.', ',')}",
            f"{amount.replace('.', ',')} Euro",
            f"Kd.Nr. {customer_number} vom {on:%d.%m.%Y}",
            "Rechnung folgt",
            "bitte schnell liefern",
            f"Tel. 0{rng.randrange(151, 9000)} {rng.randrange(10**5, 10**7)}",
            f"2 Stk. Artikel {rng.randrange(100, 9999)}",
            f"Lieferung {names.skewed(rng, names.CITIES)}",
        )
    )


def wrapped(rng: Random, text: str, joint: str) -> str:
    """The text cut after every 27 characters and put together again with ``joint``.

    Without a joint the lines lose their blanks at the edges, so words may be glued together.
    """
    lines = [text[at : at + WRAP_WIDTH] for at in range(0, len(text), WRAP_WIDTH)]
    return joint.join(line.strip() if not joint else line for line in lines)


def across_the_cut(rng: Random, number: str, who: str) -> str:
    """A text in which the number mostly lies across the 27th character."""
    for _ in range(20):
        words = [rng.choice(LEADS)]
        while len(" ".join(words)) + 1 < WRAP_WIDTH - len(number) + 1:
            words.insert(0, rng.choice((who, *PLAIN_WORDS, "vielen Dank fuer", "Online-Shop")))
        text = " ".join(word for word in words if word)
        if len(text) + 1 < WRAP_WIDTH <= len(text) + len(number) or rng.random() < 0.05:
            break
    return f"{text} {number} {rng.choice(('', 'danke', who, '05.11.2026', '2 Stk.'))}".strip()


# --- Names ------------------------------------------------------------------------------------


def full_name(who: Person) -> str:
    """As the person would write it; a company's name if it is one."""
    return who.company or f"{who.first_name} {who.last_name}"


def with_two_letters(text: str) -> str:
    """ü becomes ue, as German banks write."""
    return plain("".join(UMLAUTS.get(one, one) for one in text))


def plain(text: str) -> str:
    """Marks dropped: ü becomes u."""
    bare = unicodedata.normalize("NFKD", text.translate(MADE_PLAIN))
    return "".join(one for one in bare if not unicodedata.combining(one))


def without_marked(text: str) -> str:
    """Every letter that is not ASCII is lost, or a full stop or question mark instead."""
    return "".join(one if one.isascii() else "" for one in text)


@cache
def key(text: str) -> str:
    """To compare names: two-letter spelling, lower case, letters only."""
    return re.sub(r"[^a-z]", "", with_two_letters(text).lower())


def common_name(rng: Random, who: Person) -> str:
    """How the name stands on most accounts."""
    name = full_name(who)
    kind = rng.random()
    if not who.company:
        if kind < 0.06:
            name = f"{who.last_name}, {who.first_name}"
        elif kind < 0.1:
            name = f"{who.last_name} {who.first_name}"
        elif kind < 0.13:
            name = f"{who.first_name[0]}. {who.last_name}"
        elif who.title and kind < 0.6:
            name = f"{who.title} {name}"
    if rng.random() < 0.3:
        name = with_two_letters(name)
    return name.upper() if rng.random() < 0.15 else name


def couple_name(rng: Random, who: Person, other: str) -> str:
    """Two people on one account."""
    first, second = rng.sample((who.first_name, other), 2)
    mark = rng.choice(("u.", "und", "u", "+", "&", "oder", "od."))
    return rng.choice(
        (
            f"{first} {mark} {second} {who.last_name}",
            f"{who.last_name}, {first} {mark} {second}",
            f"{who.last_name} {first} {mark} {second}",
        )
    )


def said_in(rng: Random, values: Iterable[str]) -> str:
    """Several numbers as one list."""
    return rng.choice((", ", " + ", "+", " und ", " u. ", " & ", "/", " ", "; ", ",")).join(values)


def mangled(text: str) -> str:
    """UTF-8 read as Latin-1, as it happens between banks."""
    return text.encode().decode("latin-1").replace("\x9f", "?").replace("\x84", "?")
