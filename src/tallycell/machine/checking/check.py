"""Whether a machine says what a network does: every claim with how it is known.

*Exhaustive*: all strings to a length. *Sampled*: strings drawn independently, with a confidence bound. *Searched*: the
first difference; the first failure and the difference in n. *Proved*: the horizon. Between them, plain counts: strings
with a symbol changed, single steps, the user's own strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallycell.errors import InputError
from tallycell.machine.checking.blocks import Block, Members, as_blocks
from tallycell.machine.checking.exhaustive import Exhaustive, check_all
from tallycell.machine.checking.language_search import (
    DifferenceInN,
    FirstFailure,
    farthest_of,
    search_difference_in_n,
    search_first_failure,
)
from tallycell.machine.checking.sampling import (
    CONFIDENCE,
    Distribution,
    Strings,
    changed_strings,
    share_at_least,
    worthy,
)
from tallycell.machine.checking.search import LONGEST, Searched, search_difference
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.checking.truth import Truth
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.proving.horizon import ENOUGH, Horizon, counting_horizon
from tallycell.recogniser import Recogniser
from tallycell.wording import quoted

LENGTH = 10
MOST_STRINGS = 2_000_000  # of the exhaustive part
SAMPLES = 1000
SHOWN = 60  # symbols of a string
DEFAULT = (Distribution(), Distribution(symbols="uniform"))


@dataclass(frozen=True)
class Counted:
    """Strings and steps on which decisions were compared.

    Attributes
    ----------
    text
        Which strings.
    strings, alike
        Number of strings, and of those after each symbol of which the decisions are the same.
    steps, steps_alike
        Number of steps, and of those after which they are.
    bound
        Fidelity to the distribution that the strings were drawn from, at the least, at 95 % confidence; None if they
        were not drawn.
    differing
        The shortest beginning of a string after which they differ; None if there is none.
    """

    text: str
    strings: int
    alike: int
    steps: int
    steps_alike: int
    bound: float | None = None
    differing: tuple[str, ...] | None = None

    def __str__(self) -> str:
        said = (
            f"{self.text}: they agree on {self.alike:,} of {self.strings:,} strings, at {self.steps_alike:,} of "
            f"{self.steps:,} steps"
        )
        if self.bound is not None:
            said += (
                f", so on at least {self.bound:.2%} of all such strings ({CONFIDENCE:.0%} confidence, Clopper-Pearson)"
            )
        if self.differing is not None:
            said += f"; they first differ after {_quoted(self.differing)}"
        return said


@dataclass(frozen=True)
class Check:
    """What is known of a network and a machine, and how.

    Attributes
    ----------
    exhaustive
        On all strings to a length.
    sampled
        On strings drawn from each distribution.
    counted
        On drawn strings with a symbol changed, and on the user's own strings.
    searched
        The first difference, searched.
    first_failure
        The first failure in n; None where no language was given.
    difference_in_n
        The smallest n at which they differ at all; None where no language was given.
    horizon
        What is proved.
    until_fail
        What is proved for strings on which the machine has not failed, where that is more; else None.
    """

    exhaustive: Exhaustive
    sampled: tuple[Counted, ...]
    counted: tuple[Counted, ...]
    searched: Searched
    first_failure: FirstFailure | None
    difference_in_n: DifferenceInN | None
    horizon: Horizon
    until_fail: Horizon | None = None

    @property
    def first_difference(self) -> int | None:
        """Length of the shortest string on which they were seen to differ, in symbols; None if none was."""
        found = [len(self.exhaustive.first_difference or ()), self.searched.symbols or 0]
        found += [len(one.differing or ()) for one in (*self.sampled, *self.counted)]
        return min((length for length in found if length), default=None)

    @property
    def differing(self) -> str | None:
        """The string of the first difference, in words; None if there is none."""
        if self.first_difference is None:
            return None
        counted = (one.differing for one in (*self.sampled, *self.counted))
        for one in (self.exhaustive.first_difference, *counted):
            if one is not None and len(one) == self.first_difference:
                return _quoted(one)
        return f"the first {self.first_difference:,} symbols of {self.searched.text}"

    @property
    def agree(self) -> bool:
        """Whether no difference was seen; nothing more, except as far as the horizon."""
        found = self.difference_in_n
        return self.first_difference is None and (found is None or found.n is None)

    def __str__(self) -> str:
        e, s = self.exhaustive, self.searched
        lines = ["machine and network agree on a string if they decide alike after each of its symbols"]
        lines.append(f"exhaustive  all strings of up to {e.length} symbols: they agree on {e.alike:,} of {e.strings:,}")
        if e.first_difference is not None:
            lines[-1] += f"; they first differ after {_quoted(e.first_difference)}"
        lines += [f"sampled     {one}" for one in self.sampled]
        lines += [f"counted     {one}" for one in self.counted]
        if s.symbols is None:
            lines.append(
                f"searched    no difference is found in {s.strings:,} strings that repeat a loop of the machine, of up "
                f"to {s.longest:,} symbols"
            )
        else:
            lines.append(f"searched    they differ after {s.symbols:,} symbols of {s.text}")
        lines += [f"searched    {one}" for one in (self.first_failure, self.difference_in_n) if one is not None]
        for horizon in filter(None, (self.horizon, self.until_fail)):
            first, *rest = str(horizon).splitlines()
            lines += [f"proved      {first}", *(f"          {line}" for line in rest)]
        if self.first_difference is None:
            lines.append("no difference was seen")
        else:
            lines.append(f"they first differ after {self.first_difference:,} symbols: {self.differing}")
        return "\n".join(lines)


def check_machine(  # noqa: PLR0913  what to look at, each with a default
    machine: CounterMachine,
    net: Recogniser,
    *,
    length: int = LENGTH,
    strings: Sequence[Sequence[str]] | None = None,
    samples: int = SAMPLES,
    distribution: Distribution | Sequence[Distribution] = DEFAULT,
    language: Members | None = None,
    longest: int = LONGEST,
    seed: int = 0,
) -> Check:
    """Compare what a machine and a network decide after every symbol.

    Parameters
    ----------
    machine, net
        With the same outputs and decision rule; the network knows the machine's symbols.
    length
        All strings up to this length are compared; fewer where there would be more than two million.
    strings
        The user's own.
    samples
        How many strings are drawn from each distribution, and how many of those have a symbol changed.
    distribution
        One or several.
    language
        From n to the member of a language, as its symbols (``"a" * n + "b" * n``), where runs of one symbol are its
        blocks, or as its blocks (``[("a", n), ("b", n)]``, ``[(("a", "b"), n)]``); the first failure in n is searched.
    longest
        Length of the longest strings of the search, in symbols.
    seed
        Of what is drawn.

    Raises
    ------
    InputError
        If machine and network cannot be compared, or a number makes no sense.

    Examples
    --------
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("dyck-1")
    >>> check = check_machine(machine, compile_machine(machine), longest=10_000, samples=100)
    >>> check.agree, check.exhaustive.strings, check.horizon.symbols > 10**7
    (True, 2046, True)
    """
    if length < 1 or samples < 1 or longest < 1:
        raise InputError(f"length is {length}, samples {samples} and longest {longest}; give at least 1 of each")
    both = SideBySide(machine, net)
    rng = np.random.default_rng(seed)
    sampled, drawn = [], []
    for one in (distribution,) if isinstance(distribution, Distribution) else tuple(distribution):
        found = one.draw(machine, samples, rng)
        sampled.append(_counted(both, found, f"strings drawn independently, {one}", bounded=True))
        drawn += found
    counted = []
    changed = changed_strings([drawn[k] for k in worthy(machine, drawn)[:samples]], len(machine.alphabet), rng)
    if changed:
        counted.append(_counted(both, changed, "drawn strings with one symbol replaced, inserted or deleted"))
    if strings is not None:
        own = [np.array(machine.encode(string), np.int32) for string in strings]
        counted.append(_counted(both, own, "your own strings"))
    horizon = counting_horizon(machine, net)
    until_fail = None
    if horizon.symbols < ENOUGH and (machine.next_state == FAIL).any():
        until_fail = counting_horizon(machine, net, inputs=machine)
    return Check(
        check_all(both, _affordable(length, len(machine.alphabet))),
        tuple(sampled),
        tuple(counted),
        search_difference(both, longest=longest),
        *_in_n(both, language, longest, rng),
        horizon,
        until_fail if until_fail is not None and until_fail.symbols > horizon.symbols else None,
    )


def _counted(both: SideBySide, strings: Strings, text: str, *, bounded: bool = False) -> Counted:
    wrong, first = both.differing_steps(strings)
    alike, steps = int((wrong == 0).sum()), sum(map(len, strings))
    bound = share_at_least(alike, len(strings)) if bounded else None
    differing = None
    if (first > 0).any():
        at = int(np.where(first > 0, first, steps + 1).argmin())
        differing = tuple(both.machine.alphabet[code] for code in strings[at][: first[at]].tolist())
    return Counted(text, len(strings), alike, steps, steps - int(wrong.sum()), bound, differing)


def _in_n(
    both: SideBySide, language: Members | None, longest: int, rng: np.random.Generator
) -> tuple[FirstFailure | None, DifferenceInN | None]:
    if language is None:
        return None, None

    def blocks(n: int) -> list[Block]:
        return as_blocks(language(n))

    farthest = farthest_of(blocks, longest)
    failure = search_first_failure(both.network, Truth.of(both.runner), blocks, farthest)
    return failure, search_difference_in_n(both, blocks, farthest, rng)


def _quoted(symbols: Sequence[str]) -> str:
    """Quote a string, in parts if a symbol is longer than a character; of a long one both ends."""
    between = "" if all(len(symbol) == 1 for symbol in symbols) else " "
    if len(symbols) <= SHOWN:
        return quoted(between.join(symbols))
    ends = between.join(symbols[: SHOWN // 2]), between.join(symbols[-SHOWN // 2 :])
    return f"{quoted(ends[0])} ... {quoted(ends[1])} ({len(symbols):,} symbols)"


def _affordable(length: int, symbols: int) -> int:
    """Give the length, or the largest to which there are at most MOST_STRINGS strings, at least 1."""
    strings, reached = 0, 0
    while reached < length:
        strings += symbols ** (reached + 1)
        if strings > MOST_STRINGS and reached:
            break
        reached += 1
    return reached
