"""Errors of the API as problem details (RFC 9457). The one place where they are caught."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_smorest import Api
from marshmallow import Schema, ValidationError, fields
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import UnprocessableEntity

from server.db import db

PREFIX = ("/api/v1", "/export/")
PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class ProblemSchema(Schema):
    """RFC 9457. `errors` names what is wrong with which field."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Raw()


class ProblemApi(Api):  # type: ignore[misc]
    """The OpenAPI document with problems in the place of flask-smorest's own errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        """Called by flask-smorest: the components that `default` and 422 of a route refer to."""
        content = {PROBLEM_TYPE: {"schema": ProblemSchema}}
        for name in (self.DEFAULT_ERROR_RESPONSE_NAME, HTTPStatus.UNPROCESSABLE_ENTITY.name):
            answer = {"description": "A problem (RFC 9457)", "content": content}
            self.spec.components.response(name, answer, lazy=True)


class Problem(Exception):
    """An answer that is not what was asked for: status, sentence, and what else helps."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers or {}

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors is not None:
            body["errors"] = self.errors
        answer = jsonify(body)
        answer.status_code = self.status
        answer.content_type = PROBLEM_TYPE
        answer.headers.update(self.headers)
        return answer


def messages_of(error: ValidationError) -> Any:
    """Marshmallow's messages: {field: [text, ...] or the same for a nested object}."""
    return error.normalized_messages()  # type: ignore[no-untyped-call]


def in_words(errors: Any, path: str = "") -> str:
    """Marshmallow's nested messages as one sentence a field: "total: Not an amount."."""
    if isinstance(errors, dict):
        parts = (
            in_words(e, f"{path}.{name}".strip(".")) for name, e in sorted(errors.items(), key=str)
        )
        return " ".join(parts)
    text = " ".join(str(e) for e in errors) if isinstance(errors, list) else str(errors)
    return f"{path}: {text}"


def register(app: Flask) -> None:
    """Only requests below PREFIX get problems; pages have pages for their errors."""
    from server.api import MAX_BODY_BYTES

    app.register_error_handler(Problem, _problem)
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(UnprocessableEntity, _invalid_arguments)
    app.register_error_handler(OperationalError, _no_database)
    app.register_error_handler(DataError, _not_storable)
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.after_request(_as_problem)


def _problem(error: Problem) -> Response:
    db.session.rollback()
    return error.response()


def _invalid(error: ValidationError) -> Response:
    db.session.rollback()
    messages = messages_of(error)
    return Problem(422, in_words(messages)[:2000], errors=messages).response()


def _invalid_arguments(error: UnprocessableEntity) -> Response:
    """What flask-smorest found wrong in the query: {"query": {argument: [text, ...]}}."""
    db.session.rollback()
    where: dict[str, Any] = getattr(error, "data", {}).get("messages", {})
    messages = {name: text for inside in where.values() for name, text in inside.items()}
    return Problem(422, in_words(messages)[:2000], errors=messages).response()


def _no_database(error: OperationalError) -> Response:
    db.session.remove()
    if not request.path.startswith(PREFIX):
        raise error
    return Problem(
        503, "The database is away for a moment; nothing was stored. Please repeat.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    ).response()  # fmt: skip


def _not_storable(error: DataError) -> Response:
    db.session.rollback()
    if not request.path.startswith(PREFIX):
        raise error
    return Problem(422, "A value is out of the range that can be stored.").response()


def _as_problem(response: Response) -> Response:
    """What Flask and its extensions answer on their own (404, 405, 413, 500) in the same form."""
    is_error = response.status_code >= 400 and request.path.startswith(PREFIX)
    if not is_error or response.mimetype == PROBLEM_TYPE:
        return response
    status = response.status_code
    problem = Problem(status, _DETAILS.get(status, HTTPStatus(status).description or "")).response()
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response.headers:
            problem.headers[name] = response.headers[name]
    if status == 405 and "Allow" not in problem.headers:
        problem.headers["Allow"] = _allowed_methods()
    return problem


def _allowed_methods() -> str:
    """RFC 9110, 15.5.6: a 405 says what is allowed; flask-smorest's handler drops it."""
    from flask import current_app

    adapter = current_app.create_url_adapter(request)
    return ", ".join(sorted(adapter.allowed_methods())) if adapter is not None else ""


_DETAILS = {
    400: "The request cannot be read: not valid JSON, or not what its headers say.",
    404: "There is nothing at this address for this key.",
    405: "This address does not take that method.",
    413: "The body is too large.",
    500: "Something went wrong on our side; it has been logged. Nothing was stored.",
}
