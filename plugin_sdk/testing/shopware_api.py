"""The Admin API of a fake Shopware: routes, log-in, media types, searches and transitions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from plugin_sdk.testing.fake_shop import Asked, Reply
from plugin_sdk.testing.shopware_login import Integration, Logins, check_rights
from plugin_sdk.testing.shopware_orders import Json
from plugin_sdk.testing.shopware_search import (
    ENTITIES,
    Problem,
    asked_entities,
    search,
    shown,
    surprises,
)
from plugin_sdk.testing.shopware_shop import Store
from plugin_sdk.testing.shopware_webhooks import Webhook

JSON, JSON_API = "application/json", "application/vnd.api+json"


class Api:
    """Answers requests below /api. ``unexpected`` takes what a connector should not send."""

    def __init__(self, store: Store, logins: Logins, unexpected: list[str]) -> None:
        self.store = store
        self.logins = logins
        self.webhooks: list[Webhook] = []
        self._unexpected = unexpected

    def answer(self, asked: Asked) -> Reply:
        """What the shop says. Raises Problem."""
        is_json = asked.headers.get("content-type", "").startswith(JSON)
        if is_json and asked.raw.strip() and asked.body is None and asked.raw.strip() != b"null":
            raise Problem(400, "0", "The JSON payload is malformed.")
        if asked.path == "/api/oauth/token":
            _check_method("POST", asked)
            return self.logins.token(asked)
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(f"/api/{pattern}", asked.path)
            if found:
                who = self.logins.who(asked)
                _check_method(method, asked)
                return answer(self, asked, who, *found.groups())
        text = f'No route found for "{asked.method} {asked.path}"'
        raise Problem(404, "0", text)

    def version(self, asked: Asked, who: Integration) -> Reply:
        """GET /api/_info/version: for everybody with a token."""
        return Reply(200, {"version": self.store.version})

    def search(self, asked: Asked, who: Integration, name: str) -> Reply:
        """POST /api/search/{entity}. Rights are needed for all that the search touches."""
        entity = name.replace("-", "_")
        if entity not in ENTITIES:
            raise Problem(404, "0", f'No route found for "POST {asked.path}"')
        criteria = self._criteria(asked)
        check_rights(who, [f"{each}:read" for each in asked_entities(entity, criteria)])
        media = _media_type(asked)
        self._check_language(asked)
        self._unexpected += [f"{asked.path}: {each}" for each in surprises(entity, criteria)]
        rows = self.store.rows(entity, asked.headers.get("sw-version-id"))
        lacking = self.store.lacking
        found = search(entity, rows, criteria, lacking)
        out = [shown(entity, row, criteria) for row in found.rows]
        if media == JSON_API:
            return _json_api(entity, out, found.total)
        return Reply(200, {"total": found.total, "data": out, "aggregations": []})

    def search_ids(self, asked: Asked, who: Integration, name: str) -> Reply:
        """POST /api/search-ids/{entity}: the same, but no more than the ids of what is found."""
        body = self.search(asked, who, name).body
        total = body["total"] if "total" in body else body["meta"]["total"]
        return Reply(200, {"total": total, "data": [each["id"] for each in body["data"]]})

    def state(self, asked: Asked, who: Integration, entity: str, identifier: str) -> Reply:
        """GET .../state-machine/{entity}/{id}/state: where one can go from here."""
        check_rights(who, [f"{entity}:read"])
        return Reply(200, {"transitions": self.store.possible(entity, identifier)})

    def transition(
        self, asked: Asked, who: Integration, entity: str, identifier: str, action: str
    ) -> Reply:
        """POST .../{entity}/{id}/state/{action}. It needs no right at all, as in reality."""
        body = asked.body if isinstance(asked.body, dict) else {}
        state = self.store.transition(
            entity,
            identifier,
            action,
            mails=body.get("sendMail", True) is not False,
            version=asked.headers.get("sw-version-id"),
        )
        return Reply(200, shown("state_machine_state", state, {}))

    def wrapped_transition(
        self, asked: Asked, who: Integration, entity: str, identifier: str, action: str
    ) -> Reply:
        """The same by its general address, which wraps its answer."""
        inner = self.transition(asked, who, entity, identifier, action)
        return Reply(200, {"data": inner.body})

    def document(self, asked: Asked, who: Integration, identifier: str, deep_link: str) -> Reply:
        """GET /api/_action/document/{id}/{deepLinkCode}: the file; 204 if there is none yet."""
        check_rights(who, ["document:read"])
        for found in self.store.rows("document"):
            if found["id"] == identifier and found["deepLinkCode"] == deep_link:
                content = self.store.files.get(identifier, b"")
                kind = {"Content-Type": "application/pdf"}
                return Reply(200, content, kind) if content else Reply(204)
        text = f'The document with id "{identifier}" is invalid or could not be found.'
        raise Problem(404, "DOCUMENT__INVALID_DOCUMENT_ID", text, {"documentId": identifier})

    def webhook(self, asked: Asked, who: Integration) -> Reply:
        """POST /api/webhook: any name and any address are taken, and nothing is signed."""
        check_rights(who, ["webhook:create"])
        body = asked.body if isinstance(asked.body, dict) else {}
        self.webhooks.append(Webhook(str(body.get("eventName")), str(body.get("url"))))
        return Reply(204)

    def _check_language(self, asked: Asked) -> None:
        wanted = asked.headers.get("sw-language-id")
        known = {each["id"] for each in self.store.languages.values()}
        if wanted and wanted not in known:
            text = "The language was not found."
            raise Problem(412, "FRAMEWORK__LANGUAGE_NOT_FOUND", text, title="Precondition Failed")

    def _criteria(self, asked: Asked) -> Json:
        """Only JSON and forms are read; anything else asks for everything."""
        kind = asked.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(asked.raw.decode("utf-8", "replace")))
        if kind != JSON:
            self._unexpected.append(f"{asked.path}: content type {kind!r}")
            return {}
        return asked.body if isinstance(asked.body, dict) else {}


Answer = Callable[..., Reply]
_ID = "([^/]+)"
ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "_info/version", Api.version),
    ("POST", f"search/{_ID}", Api.search),
    ("POST", f"search-ids/{_ID}", Api.search_ids),
    ("GET", f"_action/state-machine/{_ID}/{_ID}/state", Api.state),
    ("POST", f"_action/state-machine/{_ID}/{_ID}/state/{_ID}", Api.wrapped_transition),
    ("GET", f"_action/document/{_ID}/{_ID}", Api.document),
    (
        "POST",
        f"_action/(order_transaction|order_delivery|order)/{_ID}/state/{_ID}",
        Api.transition,
    ),
    ("POST", "webhook", Api.webhook),
)


def _check_method(method: str, asked: Asked) -> None:
    if asked.method != method:
        text = (
            f'No route found for "{asked.method} {asked.path}": '
            f"Method Not Allowed (Allow: {method})"
        )
        raise Problem(405, "0", text, title="Method Not Allowed")


def _media_type(asked: Asked) -> str:
    accept = asked.headers.get("accept", "")
    if JSON in accept:
        return JSON
    if JSON_API in accept or "*/*" in accept:
        return JSON_API
    text = f"All provided media types are unsupported. ({accept})"
    raise Problem(415, "0", text, title="Unsupported Media Type")


def _json_api(entity: str, rows: list[Json], total: int) -> Reply:
    """The other shape: attributes apart from the id, no associations among them."""
    out: list[Any] = []
    for row in rows:
        values = {key: value for key, value in row.items() if key not in ("id", "apiAlias")}
        attributes = {key: value for key, value in values.items() if key not in ENTITIES[entity][0]}
        out.append({"id": row.get("id"), "type": entity, "attributes": attributes})
    body = {"data": out, "included": [], "links": {}, "meta": {"total": total}}
    return Reply(200, body, {"Content-Type": JSON_API})
