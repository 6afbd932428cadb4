"""The Trading API of a fake eBay: XML, HTTP 200 whatever happens, and the order of elements counts.

Of the error numbers those for the token, the limit and bad XML are eBay's; what eBay says when an
order may not be marked as paid is not published, so the text counts there.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from plugin_sdk.testing.ebay_login import Login
from plugin_sdk.testing.ebay_seller import Seller, stamp
from plugin_sdk.testing.fake_shop import Asked, Reply

NAMESPACE = "urn:ebay:apis:eBLBaseComponents"
BEFORE = ("DetailLevel", "ErrorLanguage", "MessageID", "Version", "ErrorHandling", "WarningLevel")
COMPLETE_SALE = (
    *BEFORE, "ItemID", "TransactionID", "FeedbackInfo", "Shipped", "Paid", "ListingType",
    "Shipment", "OrderID", "OrderLineItemID",
)  # fmt: skip
OFFLINE = ("EFT", "PERSONAL_CHECK", "CASHIER_CHECK", "CASH_ON_PICKUP", None)


@dataclass(frozen=True, slots=True)
class _Failure:
    code: str
    text: str
    kind: str = "RequestError"


BAD_XML = _Failure("5", "XML Parse error.")
BAD_TOKEN = _Failure("21916984", "Invalid IAF token.")
NO_CALLS_LEFT = _Failure("518", "Your application has exceeded usage limit on this call.")
NO_ORDER = _Failure("21916", "The order was not found or you are not its seller.")
NOT_OFFLINE = _Failure("21917", "The payment of this order cannot be changed by its seller.")


def trade(seller: Seller, login: Login, asked: Asked, calls_left: bool) -> Reply:
    """One call, named by its header and again by its root element."""
    call = asked.headers.get("x-ebay-api-call-name", "")
    failure = _failure(seller, login, asked, calls_left)
    if failure is None and call == "CompleteSale":
        failure = _complete_sale(seller, asked)
    return _answer(seller, call or "Error", failure)


def _failure(seller: Seller, login: Login, asked: Asked, calls_left: bool) -> _Failure | None:
    headers = asked.headers
    if headers.get("x-ebay-api-call-name") not in ("CompleteSale", "GeteBayOfficialTime"):
        return _Failure("2", "Unsupported verb.")
    for name in ("siteid", "compatibility-level"):
        if not headers.get(f"x-ebay-api-{name}", "").isdecimal():
            return _Failure("10012", f"Invalid value for header X-EBAY-API-{name.upper()}.")
    if not login.iaf_token(headers.get("x-ebay-api-iaf-token", "")):
        return BAD_TOKEN
    return None if calls_left else NO_CALLS_LEFT


def _complete_sale(seller: Seller, asked: Asked) -> _Failure | None:
    try:
        root = ElementTree.fromstring(asked.raw)  # noqa: S314 - from the tests themselves
    except ElementTree.ParseError:
        return BAD_XML
    names = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in root]
    places = [COMPLETE_SALE.index(name) if name in COMPLETE_SALE else -1 for name in names]
    if root.tag != f"{{{NAMESPACE}}}CompleteSaleRequest" or -1 in places:
        return BAD_XML
    if places != sorted(set(places)):
        return BAD_XML
    texts = {name: child.text or "" for name, child in zip(names, root, strict=True)}
    order = seller.orders.get(texts.get("OrderID", ""))
    if order is None:
        return NO_ORDER
    if texts.get("Paid") != "true":
        return None
    methods = [each.get("paymentMethod") for each in order["paymentSummary"]["payments"]]
    if not set(methods) <= set(OFFLINE) or order["orderPaymentStatus"] != "PENDING":
        return NOT_OFFLINE
    if not seller.ignores_sales:
        seller.pay(order["orderId"])
    return None


def _answer(seller: Seller, call: str, failure: _Failure | None) -> Reply:
    root = ElementTree.Element(f"{call}Response", {"xmlns": NAMESPACE})
    ElementTree.SubElement(root, "Timestamp").text = stamp(seller.now())
    ElementTree.SubElement(root, "Ack").text = "Failure" if failure else "Success"
    if failure:
        errors = ElementTree.SubElement(root, "Errors")
        for name, text in (
            ("ShortMessage", failure.text),
            ("LongMessage", failure.text),
            ("ErrorCode", failure.code),
            ("SeverityCode", "Error"),
            ("ErrorClassification", failure.kind),
        ):
            ElementTree.SubElement(errors, name).text = text
    ElementTree.SubElement(root, "Version").text = "1379"
    ElementTree.SubElement(root, "Build").text = "E1379_CORE_API_00000000_R1"
    raw = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Reply(200, raw, {"Content-Type": "text/xml"})
