"""Amounts as Kubernetes writes them, such as 500m, 4 or 16Gi."""

from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity


def amount(quantity: str | int) -> Decimal:
    """Read a quantity.

    Raises:
        ValueError: it is none.
    """
    return Decimal(parse_quantity(quantity))
