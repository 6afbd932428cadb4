"""The database session and what every table shares."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, MetaData, Numeric
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Id = Annotated[int, mapped_column(BigInteger, primary_key=True)]
Ref = Annotated[int, mapped_column(BigInteger)]
Amount = Annotated[Decimal, mapped_column(Numeric(16, 3))]
MaybeAmount = Annotated[Decimal | None, mapped_column(Numeric(16, 3))]
Time = Annotated[datetime, mapped_column(DateTime(timezone=True))]


class Base(DeclarativeBase):
    """Constraint names follow one pattern, so that migrations can name what they change."""

    metadata = MetaData(naming_convention=NAMES)


db = SQLAlchemy(
    model_class=Base,
    # A worker commits after each row and reads on: what it has loaded stays as loaded.
    session_options={"expire_on_commit": False},
    engine_options={
        "pool_size": 8,
        "max_overflow": 24,
        "pool_timeout": 10,
        "pool_pre_ping": False,
        "connect_args": {"connect_timeout": 5, "application_name": "kontor"},
    },
)


def now() -> datetime:
    """The present, aware. Rules never call this; doors and jobs pass it in."""
    return datetime.now(UTC)
