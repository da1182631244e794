"""Kubernetes quantities, such as 500m, 4 or 16Gi."""

from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity


def amount(quantity: str | int) -> Decimal:
    """Parse a quantity.

    Raises:
        ValueError: It is not a quantity.
    """
    return Decimal(parse_quantity(quantity))
