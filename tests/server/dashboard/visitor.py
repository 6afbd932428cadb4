"""A browser without a screen: keeps cookies, sends Origin, finds the token in the form."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from server.merchants.models import Merchant
from tests.factories import make_user

PASSWORD = "ein langer guter satz"
ORIGIN = "http://localhost"
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


class Visitor:
    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, **more)

    def token(self, page: str = "/login") -> str:
        found = _TOKEN.search(self.client.get(page).text)
        assert found, f"no form on {page}"
        return found[1]

    def post(
        self,
        path: str,
        form: dict[str, Any] | None = None,
        *,
        page: str = "/account",
        origin: str | None = ORIGIN,
        **more: Any,
    ) -> TestResponse:
        """Submit a form of ``page``, as a browser would after having shown it."""
        fields = {"form_token": self.token(page), **(form or {})}
        headers = {"Origin": origin} if origin else {}
        return self.client.post(path, data=fields, headers=headers, **more)

    def log_in(self, email: str, password: str = PASSWORD, **form: str) -> TestResponse:
        fields = {"email": email, "password": password, **form}
        return self.post("/login", fields, page="/login")


def member(app: Flask, merchant: Merchant, email: str = "anna@example.org") -> Visitor:
    """Somebody of the merchant, logged in."""
    make_user(merchant, email, PASSWORD)
    visitor = Visitor(app)
    assert visitor.log_in(email).status_code == 303
    return visitor
