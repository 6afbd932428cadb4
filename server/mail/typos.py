"""Addresses that look mistyped, with what was probably meant (N13). Pure.

A file of its own because it is a list of names and one comparison. A mail to ``htmail.com`` is
taken by somebody else's server and never comes back (S8), so nothing but this can tell. It is only
ever a suggestion: nobody's address is changed by itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

MAX_LENGTH: Final = 320
SHORTEST: Final = 5
"""A name of fewer letters is one slip away from too many others."""

_COUNTRIES: Final = {
    "yahoo": "com de at ch fr it es nl co.uk",
    "hotmail": "com de fr it es nl co.uk",
    "outlook": "com de at fr it es",
    "live": "com de fr it nl at",
    "gmx": "de net at ch com",
    "icloud": "com",
    "gmail": "com",
    "googlemail": "com",
}
_OTHERS: Final = (
    "web.de t-online.de freenet.de arcor.de mail.de posteo.de mailbox.org 1und1.de online.de "
    "kabelmail.de vodafone.de vodafonemail.de email.de magenta.de unitybox.de ewetel.net "
    "osnanet.de htp-tel.de netcologne.de aol.com aol.de me.com mac.com msn.com mail.com "
    "proton.me protonmail.com protonmail.ch pm.me tutanota.com tutanota.de tuta.io zoho.com "
    "aon.at chello.at a1.net drei.at inode.at liwest.at kabsi.at utanet.at "
    "bluewin.ch bluemail.ch hispeed.ch sunrise.ch swissonline.ch hotmail.ch quickline.ch "
    "orange.fr wanadoo.fr free.fr laposte.net sfr.fr neuf.fr bbox.fr numericable.fr "
    "libero.it virgilio.it tiscali.it alice.it tin.it fastwebnet.it "
    "ziggo.nl kpnmail.nl kpnplanet.nl planet.nl hetnet.nl xs4all.nl home.nl casema.nl upcmail.nl "
    "telefonica.net terra.es ono.com movistar.es telenet.be skynet.be "
    "comcast.net verizon.net att.net sbcglobal.net btinternet.com sky.com yandex.com "
    "ymail.com rocketmail.com duck.com fastmail.com hey.com"
)
KNOWN: Final = frozenset(_OTHERS.split()) | frozenset(
    f"{name}.{ending}" for name, endings in _COUNTRIES.items() for ending in endings.split()
)
"""Domains with very many mailboxes. One of these is never taken for a slip of another."""

NEIGHBOURS: Final = frozenset(
    # Real domains of other people that are one letter away from a provider of the list.
    "gmx.eu gmx.fr gmx.co.uk gmx.info gmx.biz gmx.li mail.ru mail.ch mail.at email.com "
    "home.com free.com life.com line.com love.com five.com live.be live.ca hot.de web.com wep.de "
    "outlook.nl outlook.be outlook.pt outlook.dk yahoo.ca yahoo.se yahoo.pl yahoo.in yahoo.be "
    "hotmail.be hotmail.se hotmail.dk orange.com orange.es line.de alive.it arco.de".split()
)
_ENDINGS: Final = {
    "con": "com",
    "cmo": "com",
    "ocm": "com",
    "comm": "com",
    "coom": "com",
    "vom": "com",
    "xom": "com",
    "cpm": "com",
    "d": "de",
    "ed": "de",
    "dde": "de",
    "dee": "de",
    "dr": "de",
    "nt": "net",
    "nett": "net",
    "ner": "net",
    "ogr": "org",
    "prg": "org",
}
"""What no registry of top level domains has, and what was meant."""
_RESTS_OF_COM: Final = frozenset({"cm", "co", "om"})
"""Countries that are what is left of ``com``: only beside the name of a provider."""
_ELSEWHERE: Final = {
    f"gmail.{ending}": "gmail.com" for ending in ("de", "at", "ch", "fr", "it", "es", "nl")
}
"""Where people think that a provider is at home."""


def suggest(address: str) -> str | None:
    """The address that was probably meant; None if nothing speaks against this one.

    Only the domain is looked at: one letter doubled, missing, wrong or swapped with its neighbour
    (Damerau-Levenshtein distance 1) in the name of a provider of many mailboxes, or an ending that
    does not exist. A provider's own domain is always right.
    """
    if len(address) > MAX_LENGTH:
        return None
    local, at, domain = address.strip().rpartition("@")
    if not at or not local:
        return None
    meant = _meant(domain.rstrip(".").lower())
    return f"{local}@{meant}" if meant else None


@lru_cache(maxsize=4096)
def _meant(domain: str) -> str | None:
    if domain in KNOWN or domain in NEIGHBOURS or "." not in domain:
        return None
    if domain in _ELSEWHERE:
        return _ELSEWHERE[domain]
    name, _, ending = domain.rpartition(".")
    if ending in _RESTS_OF_COM and f"{name}.com" in KNOWN:
        return f"{name}.com"
    if ending in _ENDINGS:
        corrected = f"{name}.{_ENDINGS[ending]}"
        return _near(corrected) or corrected
    return _near(domain)


def _near(domain: str) -> str | None:
    """The provider whose name is one slip away, the longest if there are more; endings agree."""
    if domain in KNOWN:
        return None
    near = [known for known in KNOWN if _is_one_slip(domain, known)]
    return max(near, key=lambda known: (len(known), known), default=None)


def _is_one_slip(typed: str, known: str) -> bool:
    """Short names have to be right, but for a doubled letter and swaps: ``gmz`` is somebody."""
    name, _, ending = known.partition(".")
    typed_name, _, typed_ending = typed.partition(".")
    if typed_ending != ending:
        return False
    if len(name) < SHORTEST:
        return _is_doubled_or_swapped(typed_name, name)
    return _distance_is_one(typed_name, name)


def _distance_is_one(left: str, right: str) -> bool:
    """One letter more, less or other, or two neighbours swapped."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    start = next(
        (at for at, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), None
    )
    if start is None:
        return True  # the longer one has one letter more at its end
    after_left, after_right = left[start + 1 :], right[start + 1 :]
    if len(left) != len(right):
        return left[start:] == after_right or after_left == right[start:]
    swapped = left[start : start + 2] == right[start : start + 2][::-1]
    return after_left == after_right or (swapped and after_left[1:] == after_right[1:])


def _is_doubled_or_swapped(typed: str, name: str) -> bool:
    doubled = {name[: at + 1] + name[at:] for at in range(len(name))}
    swapped = {name[:at] + name[at + 1] + name[at] + name[at + 2 :] for at in range(len(name) - 1)}
    return typed in doubled or (typed in swapped and typed != name)
