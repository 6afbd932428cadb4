"""Why a repayment or a batch failed, in the reader's language."""

from __future__ import annotations

from server.dashboard import sentences, words

REFUSED = "payment_refused."
"""How the reason begins for which a payment could not be written into a file."""
RETURNED = "returned: "
"""How the reason begins for which the bank sent it back."""


def why_failed(error: str | None) -> str:
    """What was stored: a reason of ours, else what the bank or a person said."""
    if not error:
        return ""
    why = error.removeprefix(REFUSED)
    if why != error and words.has_text(f"payment_refused.{why}"):
        return str(words.t(f"payment_refused.{why}"))
    if words.has_text(f"bank_said.{error}"):
        return str(words.t(f"bank_said.{error}"))
    if error.startswith(RETURNED):
        return str(words.t("refund.returned", why=error.removeprefix(RETURNED)))
    return sentences.say(error).text
