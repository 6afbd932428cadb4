"""Which bank a code means, and where it speaks FinTS, as far as that is known.

Names, BICs and bank codes come from schwifty's registry (Bundesbank, Bankleitzahlendatei). The
addresses come from banks.toml; the bank's own word counts more, so the merchant may enter any.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException

BANK_CODE_LENGTH = 8
BIC_LENGTHS = (8, 11)
MAX_CODE_LENGTH = 42
COUNTRY = "DE"
_REGISTRY_MARK = re.compile(r"\s*\((?:Gf|alt|ehem)[^)]*\)\s*$")  # remarks of the registry
_TABLE = Path(__file__).with_name("banks.toml")


@dataclass(frozen=True, slots=True)
class Bank:
    """A German bank. ``urls``: where it may speak FinTS, the likeliest first; often none."""

    name: str
    bank_code: str
    bic: str | None
    urls: tuple[str, ...]


def find_bank(code: str) -> Bank | None:
    """The bank of a Bankleitzahl (8 digits), a BIC or an IBAN; None if there is none in Germany."""
    plain = "".join(code.split()).upper()
    if len(plain) > MAX_CODE_LENGTH:
        return None
    try:
        bank_code = _bank_code(plain)
        bic = BIC.from_bank_code(COUNTRY, bank_code) if bank_code else None
    except (SchwiftyException, ValueError):
        return None
    if bank_code is None or bic is None:
        return None
    known = str(bic) if len(plain) not in BIC_LENGTHS or plain.isdigit() else plain
    name = _REGISTRY_MARK.sub("", (bic.bank_names or [""])[0])
    return Bank(name, bank_code, known, _urls(known))


def _bank_code(plain: str) -> str | None:
    if plain.isascii() and plain.isdigit():
        return plain if len(plain) == BANK_CODE_LENGTH else None
    if len(plain) in BIC_LENGTHS:
        bic = BIC(plain)
        codes = bic.domestic_bank_codes if bic.country_code == COUNTRY else []
        return codes[0] if codes else None
    iban = IBAN(plain)
    return iban.bank_code if iban.country_code == COUNTRY else None


def _urls(bic: str) -> tuple[str, ...]:
    fitting = [(len(start), urls) for start, urls in _addresses().items() if bic.startswith(start)]
    return max(fitting)[1] if fitting else ()


@cache
def _addresses() -> dict[str, tuple[str, ...]]:
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return {bank["bic"]: tuple(bank["urls"]) for bank in table["bank"]}
