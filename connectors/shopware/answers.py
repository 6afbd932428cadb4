"""What Shopware's errors mean: which go away, which are final, which need a person."""

from __future__ import annotations

import re

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import ErrorRule


class TokenRefused(Misconfigured):
    """The token has run out, or the shop forgot it; a new one may work."""


class MissingPrivilege(Misconfigured):
    """The role of the integration lacks the right to read or write something."""


class ServerBroken(Temporary):
    """A 500. It is also what a shop answers to the token of an integration that was deleted."""


class StateMoved(Temporary):
    """Somebody changed the state between our look and our write."""


class UnknownPayment(Temporary):
    """The payment is not there any more; whether its order is gone too, the next look tells."""


_NO_API = "There is no Shopware 6 at this address"

RULES = (
    ErrorRule(
        Misconfigured,
        "The access key id is none of Shopware's",
        code="FRAMEWORK__API_INVALID_ACCESS_KEY",
    ),
    ErrorRule(
        Misconfigured, "The access key id or the secret access key is wrong", status=401, code="4"
    ),
    ErrorRule(Misconfigured, "The log-in was refused", status=400, code="2"),
    ErrorRule(Misconfigured, "The log-in was refused", status=400, code="3"),
    ErrorRule(TokenRefused, "The token was refused", status=401, code="9"),
    ErrorRule(
        MissingPrivilege,
        "A right is missing",
        status=403,
        code="FRAMEWORK__MISSING_PRIVILEGE_ERROR",
    ),
    ErrorRule(
        StateMoved,
        "The state does not allow this any more",
        code="SYSTEM__ILLEGAL_STATE_TRANSITION",
    ),
    ErrorRule(
        UnknownPayment,
        "The shop does not know this payment",
        code="SYSTEM__STATE_MACHINE_INVALID_ENTITY_ID",
    ),
    # A 500 that will not go away: this version has no such association.
    ErrorRule(Rejected, "The shop is too old or too new", code="FRAMEWORK__ASSOCIATION_NOT_FOUND"),
    ErrorRule(Misconfigured, _NO_API, status=404, code="0"),
    ErrorRule(Misconfigured, _NO_API, status=404, code=""),
    ErrorRule(Misconfigured, _NO_API, status=405),
    ErrorRule(ServerBroken, "The shop is in trouble", status=500),
)


def named(error: MissingPrivilege) -> MissingPrivilege:
    """The shop names the rights as JSON within JSON, as a list or an object, and some twice."""
    rights = sorted(set(re.findall(r"\b[a-z_]+:(?:read|create|update|delete)\b", str(error))))
    if not rights:
        return error
    return MissingPrivilege(f"The integration lacks rights: {', '.join(rights)}.")
