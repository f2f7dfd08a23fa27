"""A job in the transaction of a SQLAlchemy session, beside the row it is about."""

import os
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from riverbridge import Client, InsertOpts


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


url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
engine = create_engine(url)
Base.metadata.create_all(engine)
client = Client(engine)

with Session(engine) as session, session.begin():
    order = Order(customer="fay")
    session.add(order)
    session.flush()  # gives the order its id
    client.insert_tx(session, OrderPlaced(order.id, order.customer), InsertOpts(queue="default"))

with engine.begin() as connection:  # without the ORM
    client.insert_tx(connection, OrderPlaced(6, "gus"))

engine.dispose()
