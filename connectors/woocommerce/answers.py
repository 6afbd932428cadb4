"""What WooCommerce's errors mean for what happens next."""

from __future__ import annotations

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import ErrorRule


class UnknownOrder(Rejected):
    """The shop says in so many words that it has no order with this id."""


class KeyIgnored(Misconfigured):
    """No key, an unknown key and a key the shop does not look at all get this one answer."""


class NoRoute(Misconfigured):
    """There is no REST API at this address in this form; the other form may work."""


_INVALID_ID = "woocommerce_rest_shop_order_invalid_id"
_AUTHENTICATION = "woocommerce_rest_authentication_error"
_KEY_IGNORED = (
    "The shop does not know the consumer key, or its web server drops the Authorization header"
)

RULES = (
    # The same missing order is 404 when read and 400 when written.
    ErrorRule(UnknownOrder, "The shop has no such order", code=_INVALID_ID),
    ErrorRule(
        Misconfigured,
        "The key may only read; give it the permission read/write",
        code=_AUTHENTICATION,
        words="write permissions",
    ),
    ErrorRule(
        Misconfigured,
        "The clocks of the shop and of this machine differ too much",
        code=_AUTHENTICATION,
        words="Invalid timestamp",
    ),
    ErrorRule(Temporary, "Signed twice", code=_AUTHENTICATION, words="Invalid nonce"),
    ErrorRule(
        Misconfigured, "The consumer key is wrong", code=_AUTHENTICATION, words="Consumer key"
    ),
    ErrorRule(Misconfigured, "The consumer secret is wrong", code=_AUTHENTICATION),
    ErrorRule(KeyIgnored, _KEY_IGNORED, status=401, code="woocommerce_rest_cannot_view"),
    ErrorRule(KeyIgnored, _KEY_IGNORED, status=401, code="woocommerce_rest_cannot_edit"),
    ErrorRule(NoRoute, "WooCommerce's REST API is not there", status=404, code="rest_no_route"),
    ErrorRule(NoRoute, "WooCommerce's REST API is not there", status=404, code=""),
    ErrorRule(NoRoute, "", status=301),
    ErrorRule(NoRoute, "", status=302),
    ErrorRule(NoRoute, "", status=307),
    ErrorRule(NoRoute, "", status=308),
    # One of the few 500 that will not go away.
    ErrorRule(
        Rejected, "The refund was refused", code="woocommerce_rest_cannot_create_order_refund"
    ),
)
