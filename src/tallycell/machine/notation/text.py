"""Counter machines as text that a person writes and reads; ``docs/notation.md`` has the grammar.

::

    alphabet ( )
    counter depth
    on (              depth +1
    on )  depth > 0   depth -1
    on )  depth = 0   fail
    accept when depth = 0

Text becomes tokens (``tokens``), these statements (``statements``), these tables (``assembly``); back again sets of
views become guards (``boxes``) and tables rules (``printing``).
"""

from tallycell.errors import FormatError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.assembly import assemble
from tallycell.machine.notation.printing import format_machine
from tallycell.machine.notation.statements import read_program
from tallycell.wording import quoted

__all__ = ["format_machine", "parse"]


def parse(text: str) -> CounterMachine:
    """Read a machine; ``parse(format_machine(machine)) == machine``.

    Parameters
    ----------
    text
        Lines of the notation. What no rule covers must be out of reach, or fail by a line ``otherwise fail``.

    Raises
    ------
    FormatError
        If the text is no machine, or no text; it names line, column and what was expected.

    Examples
    --------
    >>> machine = parse('''
    ... alphabet a b
    ... counter n
    ... state climbing:              # the first state is the start
    ...   on a            n +1
    ...   on b  n > 0     n -1  -> falling
    ...   on b  n = 0     fail
    ... state falling:
    ...   on a            fail
    ...   on b  n > 0     n -1
    ...   on b  n = 0     fail
    ...   accept when n = 0
    ... ''')
    >>> [machine.accepts(string) for string in ("aaabbb", "aab", "abab")]
    [True, False, False]
    """
    if not isinstance(text, str):
        raise FormatError(
            f"the text of a machine is {quoted(text, 40)}; expected a str"
            f"{', so decode it: text.decode()' if isinstance(text, bytes | bytearray) else ''}"
        )
    return assemble(read_program(text))
