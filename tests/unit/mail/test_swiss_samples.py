"""Previews of mails to Swiss customers show the code of the QR-bill, the others the GiroCode."""

from __future__ import annotations

from datetime import date

import pytest

from server.mail.kinds import KINDS
from server.mail.languages import EDITIONS, is_swiss
from server.mail.rules import compose
from server.mail.samples import sample_facts
from server.mail.theme import Theme

ASKING = sorted(kind for kind, one in KINDS.items() if "swiss_qr" in one.optional)


@pytest.mark.feature("K18", "K19")
@pytest.mark.parametrize("kind", ASKING)
@pytest.mark.parametrize("edition", EDITIONS)
def test_every_mail_that_asks_for_money_shows_the_code_of_its_country(kind, edition):
    message = compose(kind, edition, sample_facts(kind, edition, date(2026, 3, 6)), Theme())
    code = "swissqr@kontor" if is_swiss(edition) else "girocode@kontor"
    assert [image.content_id for image in message.inline] == [code]
    assert f"cid:{code}" in message.html
