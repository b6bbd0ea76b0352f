"""Tasks one after the other in this process."""

from collections.abc import Iterator, Sequence

from tallycell.survey.store import Receipt
from tallycell.survey.tasks import Order, fill


def one_by_one(orders: Sequence[Order]) -> Iterator[Receipt]:
    """Do each task in turn, and give its receipt.

    Raises
    ------
    InputError, FormatError
        As :func:`~tallycell.survey.tasks.fill`.
    """
    yield from map(fill, orders)
