"""A job in Django's transaction. Of this file a project needs only what is under `place_order`."""

import os
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import django
from django.conf import settings

at = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": at.path.lstrip("/"),
            "USER": at.username,
            "PASSWORD": at.password,
            "HOST": at.hostname,
            "PORT": at.port,
        }
    }
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402

from riverbridge import Client  # noqa: E402


class Order(models.Model):
    customer = models.TextField()

    class Meta:
        app_label = "shop"
        db_table = "orders"


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


client = Client(connection)  # the thread's own connection each time, as everywhere in Django


def place_order(customer: str) -> None:
    with transaction.atomic():
        order = Order.objects.create(customer=customer)
        client.insert_tx(connection, OrderPlaced(order.pk, customer))


if __name__ == "__main__":
    with connection.schema_editor() as editor:  # stands for a migration
        editor.create_model(Order)
    place_order("lea")
    connection.close()
