"""What is right after each symbol of a string: what a machine says there, where there is anything to decide."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.running.runner import Run, Runner


@dataclass(frozen=True, eq=False)
class Expected:
    """What is right after each symbol of strings that lie padded side by side.

    Attributes
    ----------
    chosen
        Whether each output is to be chosen.
    determined
        Whether there is anything to decide after that symbol: False beyond the end of a string, after a symbol that
        could not follow, and where several answers are right.
    run
        Where the strings led the machine that is the truth.
    """

    chosen: Bool[np.ndarray, "sequence time output"]
    determined: Bool[np.ndarray, "sequence time"]
    run: Run


@dataclass(frozen=True, eq=False)
class Truth:
    """A counter machine that is taken to be right, and where what it says is to be decided.

    Attributes
    ----------
    runner
        Of the machine.
    legal
        Whether it says which symbols may follow. After a symbol that could not follow, nothing is right or wrong.
    sampled
        Whether decisions count only where the machine says one thing alone.
    unasked
        Output of the machine that stands for no answer, and is none of a network's.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> truth = Truth.of(Runner(shipped_machine("anbn")))
    >>> truth.legal, truth.outputs
    (True, ('a', 'b', 'accept'))
    >>> truth.expected(np.array([[0, 1, 0, 1]]), np.array([4])).determined
    array([[ True,  True, False, False]])
    """

    runner: Runner
    legal: bool
    sampled: bool = False
    unasked: str | None = None

    @classmethod
    def of(cls, runner: Runner) -> "Truth":
        """Take all that a machine says for right; it says what may follow if it can name each symbol."""
        return cls(runner, legal=says_what_may_follow(runner.machine))

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols."""
        return self.runner.machine.alphabet

    @property
    def outputs(self) -> tuple[str, ...]:
        """What there is to say."""
        return tuple(output for output in self.runner.machine.outputs if output != self.unasked)

    def expected(
        self,
        codes: Int[np.ndarray, "sequence time"],
        lengths: Int[np.ndarray, " sequence"],
        *,
        after: Expected | None = None,
    ) -> Expected:
        """Say what is right after each symbol of any strings, padded to one length.

        Parameters
        ----------
        codes
            Symbols as their indices in the alphabet; any beyond the end.
        lengths
            Symbols of each string; may be 0 or less where it ended before.
        after
            What was right in the parts of the strings that came before, if these go on.
        """
        within = np.arange(codes.shape[1]) < np.asarray(lengths)[:, np.newaxis]
        run = self.runner.run(np.ascontiguousarray(codes), after=None if after is None else after.run, keep_says=True)
        assert run.each_says is not None
        says = self.runner.sayings[run.each_says]
        if self.legal:
            within = within & says.any(-1)  # in fail nothing may follow, and the string may not end
        if self.sampled:
            within = within & (says.sum(-1) == 1)
        if self.unasked is not None:
            at = self.runner.machine.outputs.index(self.unasked)
            within = within & ~says[..., at]
            says = np.delete(says, at, axis=-1)
        return Expected(says, within, run)


def says_what_may_follow(machine: CounterMachine) -> bool:
    """Whether a machine says any number of things, and each of its symbols is one of them."""
    return machine.decision == "threshold" and set(machine.alphabet) <= set(machine.outputs)
