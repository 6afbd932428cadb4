"""Errors as eBay's REST APIs answer them."""

from __future__ import annotations

from plugin_sdk.testing.fake_shop import Refusal, Reply


class EbayProblem(Refusal):
    """{"errors": [{errorId, domain, category, message, longMessage}]}."""

    def __init__(
        self,
        status: int,
        error_id: int,
        message: str,
        long_message: str = "",
        *,
        domain: str = "API_FULFILLMENT",
    ) -> None:
        super().__init__(status, str(error_id), message)
        error = {
            "errorId": error_id,
            "domain": domain,
            "category": "APPLICATION" if status >= 500 else "REQUEST",
            "message": message,
            "longMessage": long_message or message,
        }
        self.reply = Reply(status, {"errors": [error]})
