"""Alembic's entry: migrations run on one connection, with a limit on waiting for locks."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, text

from server.app import TABLES
from server.db import Base

assert TABLES, "every model is imported"
LOCK_TIMEOUT = "5s"


def run(connection: Connection) -> None:
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
with engine.connect() as connection:
    run(connection)
engine.dispose()
