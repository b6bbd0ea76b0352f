"""What a file has in some place, told in an error without looking into it.

No format of its own: what several loaders need.
"""

from tallycell.wording import quoted


def told(value: object) -> str:
    """Quote a plain value; of what holds others say only what kind it is.

    What holds others may be nested to any depth, or hold one of them twice, which holds one twice again, and so on:
    written out, it never ends.

    Examples
    --------
    >>> told("LSTM"), told(3), told(None), told([[3]])
    ("'LSTM'", '3', 'None', 'a list')
    """
    plain = value is None or isinstance(value, str | bytes | int | float)
    return quoted(value) if plain else f"a {type(value).__name__.lower()}"
