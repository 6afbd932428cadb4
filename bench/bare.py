"""What an order push is compared to: a route that stores its body, INSERT and COMMIT, no more."""

from __future__ import annotations

import sys

from flask import Flask, request
from sqlalchemy import create_engine, text

from server.config import Settings, psycopg_url
from server.web import Web


def bare_app(database_url: str) -> Flask:
    engine = create_engine(psycopg_url(database_url), pool_size=16)
    insert = text("insert into bench_body (body) values (:body)")
    app = Flask("bare")

    @app.post("/bare")
    def store() -> dict[str, bool]:
        with engine.begin() as connection:
            connection.execute(insert, {"body": request.get_data(as_text=True)})
        return {"ok": True}

    return app


class BareWeb(Web):
    """The same app server with the same settings, another app."""

    def load_config(self) -> None:
        super().load_config()
        self.cfg.set("post_worker_init", lambda _: None)

    def load(self) -> Flask:
        return bare_app(self.settings.database_url)


def main() -> None:
    settings = Settings.from_env()
    sys.argv = sys.argv[:1]
    BareWeb(settings).run()


if __name__ == "__main__":
    main()
