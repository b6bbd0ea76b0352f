"""The numbers of the recipe, the same for every language."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What training does, whatever is learned.

    Attributes
    ----------
    together
        Networks that are trained side by side, in a round.
    steps
        Steps of a round.
    batch
        Strings a step; all networks of a round read the same.
    learning_rate, last_learning_rate
        Of Adam: the first holds for the first half of the steps, then it falls geometrically to the second.
    noise
        Standard deviation of what is added to every pre-activation, before the slope.
    noise_until
        Share of the steps after which nothing is added any more: what is then still wrong is seen as such.
    slope, slope_from
        Factor on every pre-activation at the end. It is 1 until a share ``slope_from`` of the steps is done and grows
        linearly from there; it stays in the weights of the result.
    cell_slope
        Greatest factor on a cell where it is exposed, h = o tanh(factor c), at the end; it grows as the slope does.
        Each step draws its factor between 1 and the greatest, evenly in the logarithm: a cell that is read by its size
        says something else at each step, one that is read by its sign the same. The result has the factor 1.
    short_first
        Share of the steps during which strings are no longer than a length that grows geometrically. A step reads as
        many more strings as they are shorter.
    first_length, first_length_if_last
        That length at the start, in symbols. The second holds where only the last symbol counts: a string then teaches
        one thing only, and a long one nothing before short ones are understood.
    forget_bias
        Added to the forget gates' biases that torch draws.
    longest_gradient
        Length to which a network's gradient is shortened.
    judged_on
        Strings on which a round is judged, and from which machines are read; a fixed set of strings is taken whole.
    checked_on
        More strings on which a hardened network has to be right; those on which its machine is wrong are read, too. Of
        a fixed set of strings there are no more.
    hardened
        Networks of a round that are hardened at most, the best first.
    nearly
        Share of the strings on which one of them may be wrong, snapped: what is rare in a network can be right in the
        machine that is read from it.
    """

    together: int = 8
    steps: int = 1500
    batch: int = 32
    learning_rate: float = 0.02
    last_learning_rate: float = 0.001
    noise: float = 0.5
    noise_until: float = 0.85
    slope: float = 8.0
    slope_from: float = 0.45
    cell_slope: float = 6.0
    short_first: float = 0.4
    first_length: int = 32
    first_length_if_last: int = 4
    forget_bias: float = 1.0
    longest_gradient: float = 1.0
    judged_on: int = 1000
    checked_on: int = 10_000
    hardened: int = 4
    nearly: float = 0.01

    def slope_at(self, done: float) -> float:
        """Slope when a share of the steps is done.

        Examples
        --------
        >>> [Settings(slope=5.0, slope_from=0.5).slope_at(done) for done in (0.0, 0.5, 0.75, 1.0)]
        [1.0, 1.0, 3.0, 5.0]
        """
        return self._grown(self.slope, done)

    def cell_slope_at(self, done: float, share: float) -> float:
        """Factor on cells when a share of the steps is done; ``share`` is drawn evenly between 0 and 1.

        Examples
        --------
        >>> [Settings(cell_slope=4.0).cell_slope_at(1.0, share) for share in (0.0, 0.5, 1.0)]
        [1.0, 2.0, 4.0]
        """
        return float(self._grown(self.cell_slope, done) ** share)

    def _grown(self, last: float, done: float) -> float:
        return 1.0 + (last - 1.0) * max(0.0, (done - self.slope_from) / (1.0 - self.slope_from))

    def learning_rate_at(self, done: float) -> float:
        """Learning rate when a share of the steps is done.

        Examples
        --------
        >>> [round(Settings().learning_rate_at(done), 4) for done in (0.0, 0.5, 0.75, 1.0)]
        [0.02, 0.02, 0.0045, 0.001]
        """
        falling = max(0.0, 2.0 * done - 1.0)
        return float(self.learning_rate * (self.last_learning_rate / self.learning_rate) ** falling)

    def longest_at(self, done: float, longest: int, *, only_last: bool = False) -> int | None:
        """Greatest length of a string when a share of the steps is done, of a language's longest; None for any.

        Examples
        --------
        >>> [Settings(first_length=8).longest_at(done, 128) for done in (0.0, 0.2, 0.5)]
        [8, 32, None]
        """
        first = self.first_length_if_last if only_last else self.first_length
        if done >= self.short_first or longest <= first:
            return None
        return int(first * (longest / first) ** (done / self.short_first))


SETTINGS = Settings()
