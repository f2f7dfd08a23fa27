"""What `riverqueue` wraps SQLAlchemy's objects in. Our clients take them bare, too."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@dataclasses.dataclass(frozen=True)
class Driver:
    """For `Client`. On a connection its inserts join the transaction, which the caller commits."""

    conn: Connection | Engine


@dataclasses.dataclass(frozen=True)
class AsyncDriver:
    """For `AsyncClient`, otherwise as `Driver`."""

    conn: AsyncConnection | AsyncEngine
