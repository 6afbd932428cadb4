"""The OpenAPI document keeps its word: generated requests, good and bad, against every operation.

Some 25 examples an operation, the same on every machine; with KONTOR_TORTURE=1 a thousand.
"""

from __future__ import annotations

from base64 import b64encode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from server.api.exports import EXPORTS
from server.db import db, now
from server.orders.service import mark_as_paid
from server.shops.order_requests import ask_for_order
from tests.factories import bearer, make_key, make_merchant, make_order, make_shop
from tests.server.relay.systems import a_mail, make_system

EXAMPLES = 12  # good ones, and as many bad
FULL = pytest.mark.torture
DOCUMENT = "/api/v1/openapi.json"

load_all_checks()
schemathesis.openapi.media_type("application/pdf", st.binary().map(b"%PDF-1.7".__add__))


schemathesis.openapi.media_type("message/rfc822", st.binary().map(a_mail().__add__))


@schemathesis.serializer("application/pdf", "message/rfc822")
def as_it_is(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


KEPT = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)


@pytest.fixture
def keys(app):
    """A key for each scope, of a merchant who has an order and a payment update."""
    merchant = make_merchant()
    shop = make_shop(merchant)
    order = make_order(shop, external_id="0")
    mark_as_paid(merchant.id, order.id, actor="", at=now())
    ask_for_order(shop, number="AA-1", asked_by="", at=now())
    db.session.commit()
    system = make_system(merchant=merchant)
    log_in = b64encode(f"{system.user}:{system.password}".encode()).decode()
    return {
        "shop": bearer(make_key(merchant, "shop", shop)[1]),
        "bank": bearer(make_key(merchant, "bank")[1]),
        "export": bearer(make_key(merchant, "export")[1]),
        "relay": {"Authorization": f"Basic {log_in}"},
    }


@pytest.fixture
def document(app, keys):
    config = schemathesis.Config(seed=1)
    return schemathesis.openapi.from_wsgi(DOCUMENT, app, config=config)


OPERATIONS = (
    "POST /api/v1/orders",
    "GET /api/v1/orders",
    "POST /api/v1/orders/batch",
    "GET /api/v1/orders/{external_id}",
    "PUT /api/v1/orders/{external_id}/invoices/{number}",
    "POST /api/v1/orders/{external_id}/refunds",
    "GET /api/v1/orders/{external_id}/refunds",
    "POST /api/v1/orders/gone",
    "GET /api/v1/payment-updates",
    "POST /api/v1/payment-updates/{update_id}/acknowledgement",
    "POST /api/v1/order-requests/{request_id}/answer",
    "POST /api/v1/statements",
    "GET /api/v1/statements/{statement_id}",
    "GET /api/v1/postings",
    "POST /api/v1/postings",
    "POST /api/v1/heartbeat",
    "POST /api/v1/relay/messages",
    "GET /api/v1/relay/messages/{relayed_id}",
    "GET /export/orders.csv",
)
SAME_VIEW = {f"GET /export/{name}.csv" for name in EXPORTS}
"""Tables differ by their rows only; one of them is tried."""
SCOPES = {
    "/api/v1/statements": "bank",
    "/api/v1/postings": "bank",
    "/api/v1/relay": "relay",
    "/export": "export",
}
"""By how the path begins; all others are for a shop."""


def test_every_operation_of_the_document_is_tried(document):
    assert {one.ok().label for one in document.get_all_operations()} == {
        *OPERATIONS,
        *SAME_VIEW,
    }


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(500, marks=FULL)])
def test_every_operation_answers_as_documented(document, keys, label, mode, examples):
    operation = document.find_operation_by_label(label)
    scopes = [scope for begin, scope in SCOPES.items() if operation.path.startswith(begin)]
    headers = keys[scopes[0] if scopes else "shop"]
    checks = [CHECKS.get_one(name) for name in KEPT]

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def answers(case):
        if case.query and "wait_seconds" in case.query:
            case.query["wait_seconds"] = 0  # waiting is tested elsewhere
        case.call_and_validate(headers=headers, checks=checks)

    answers()


def test_the_document_names_the_problem_everywhere(client):
    found = client.get(DOCUMENT).json
    problem = found["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert list(problem) == ["application/problem+json"]
    operations = [
        operation
        for path in found["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(operations) >= 13
    assert all("default" in operation["responses"] for operation in operations)
    assert found["security"] == [{"key": []}]
