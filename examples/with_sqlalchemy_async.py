"""A job in the transaction of a SQLAlchemy session for asyncio, here over asyncpg."""

import asyncio
import os
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from riverbridge import AsyncClient


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


async def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    client = AsyncClient(engine)

    async with AsyncSession(engine) as session, session.begin():
        order = Order(customer="hal")
        session.add(order)
        await session.flush()  # gives the order its id
        await client.insert_tx(session, OrderPlaced(order.id, order.customer))

    await engine.dispose()


asyncio.run(main())
