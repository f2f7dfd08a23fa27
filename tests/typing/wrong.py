"""What the types of the public names refuse. Only checked, never run.

Each `ignore` marks an error that mypy must find: one too many is an error itself.
"""

from __future__ import annotations

from riverbridge import AsyncClient, Client, InsertOpts, UniqueOpts
from tests.typing.right import OrderPlaced


def args_without_a_kind(client: Client) -> None:
    client.insert({"order_id": 1})  # type: ignore[arg-type]


def options_that_are_not_options(client: Client) -> None:
    client.insert(OrderPlaced(1), {"queue": "mail"})  # type: ignore[arg-type]


def one_job_where_many_belong(client: Client) -> None:
    client.insert_many(OrderPlaced(1))  # type: ignore[arg-type]


def an_option_of_the_wrong_type() -> InsertOpts:
    return InsertOpts(priority="high")  # type: ignore[arg-type]


def an_option_that_does_not_exist() -> UniqueOpts:
    return UniqueOpts(by_kind=True)  # type: ignore[call-arg]


def a_result_that_is_not_awaited(client: AsyncClient) -> object:
    return client.insert(OrderPlaced(1)).job  # type: ignore[attr-defined]


def an_attribute_that_no_job_has(client: Client) -> object:
    return client.insert(OrderPlaced(1)).job.status  # type: ignore[attr-defined]
