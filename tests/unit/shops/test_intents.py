"""What a shop is told when an order ends without its money."""

from __future__ import annotations

import pytest

from plugin_sdk.types import Intent, PaymentCode, PaymentStatus
from server.orders.rules import LATE_CODES
from server.shops.rules import intent_of


@pytest.mark.feature("K4", "S81")
@pytest.mark.parametrize("code", list(PaymentCode))
def test_a_shop_is_told_the_word_that_people_here_read(code):
    wanted = Intent.OVERDUE if code.value in LATE_CODES else Intent.CANCELLED
    assert intent_of(PaymentStatus.CANCELLED, code) is wanted
