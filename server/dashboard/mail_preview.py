"""Mails as they would be, with an invented order: what the pages of look and words show and test.

A file of its own because both pages ask it, and the test mail is the same mail, only sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from flask import Response, g, request

from server.dashboard import words
from server.dashboard.order_mails import framed
from server.mail.kinds import KINDS
from server.mail.languages import editions_for
from server.mail.rules import Facts, Message, Template, compose
from server.mail.samples import CASES, sample_facts
from server.mail.theme import KONTOR, Theme
from server.orders.identity import Identity, identity_of, system_address
from server.shops.models import Shop

PREVIEWED = tuple(name for name, kind in KINDS.items() if kind.footer != "account")
"""Every kind that a merchant has a say in or gets; account mails are nobody else's business."""

_ASKS_FOR_DARK = "@media (prefers-color-scheme: dark)"
_BOTH_SCHEMES = 'content="light dark"'


@dataclass(frozen=True, slots=True)
class Sample:
    """Which mail is shown: ``shop`` None is for all of them, or there is none yet.

    ``case`` is a turn of the mail other than the usual one, as ``samples.CASES`` names it.
    ``legal_line`` stands for the shop's own, as long as it is only typed.
    """

    kind: str
    edition: str
    shop: Shop | None
    case: str = ""
    legal_line: str | None = None

    @property
    def to_customer(self) -> bool:
        return KINDS[self.kind].reader == "customer"

    @property
    def facts(self) -> Facts:
        """Those of the invented order, at the reader's own shop."""
        facts = dict(sample_facts(self.kind, self.edition, words.today(), self.case))
        if "shop_name" in facts and self.shop is not None:
            facts["shop_name"] = self.shop.name
        if self.to_customer:
            own = self.identity.legal_line
            facts["legal_line"] = own if self.legal_line is None else self.legal_line
        return facts

    @property
    def identity(self) -> Identity:
        """A notice to the merchant comes from Kontor, everything else from the shop."""
        if self.to_customer and self.shop is not None:
            return identity_of(self.shop)
        if self.to_customer:
            return Identity(Theme(), g.merchant.name, system_address(), None)
        return Identity(KONTOR, "Kontor", system_address(), None)

    def message(self, template: Template | None = None, theme: Theme | None = None) -> Message:
        """What it says, with a merchant's own words and colours or with those in force."""
        shown = theme or self.identity.theme
        return compose(self.kind, self.edition, self.facts, shown, template)


def asked_sample(shop: Shop | None) -> Sample:
    """Kind, edition and case of the URL or form; the first of each where there is no such one."""
    kind = request.values.get("kind", "")
    if kind not in PREVIEWED:
        kind = PREVIEWED[0]
    editions = editions_for(KINDS[kind].reader)
    edition = request.values.get("edition", "")
    case = request.values.get("case", "")
    return Sample(
        kind,
        edition if edition in editions else editions[0],
        shop,
        case if case in CASES.get(kind, ()) else "",
    )


def preview_frame(message: Message, scheme: str) -> Response:
    """For a sandboxed frame, in the light or the dark edition whatever the reader's browser is."""
    return framed(replace(message, html=in_scheme(message.html, scheme)))


def in_scheme(html: str, scheme: str) -> str:
    media = "@media all" if scheme == "dark" else "@media not all"
    html = html.replace(_ASKS_FOR_DARK, media)
    return html.replace(_BOTH_SCHEMES, f'content="{scheme}"')


def asked_scheme() -> str:
    return "dark" if request.values.get("scheme") == "dark" else "light"


def as_columns(sample: Sample) -> dict[str, Any]:
    """What ``queue_mail`` needs of the mail's sender and words."""
    identity = sample.identity
    return {
        "language": sample.edition,
        "facts": sample.facts,
        "theme": identity.theme,
        "sender_name": identity.sender_name,
        "sender_address": identity.sender_address,
        "reply_to": identity.reply_to,
    }
