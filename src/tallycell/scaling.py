"""How raw values were scaled for a network: by name, a center and a spread."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import InputError
from tallycell.names import FEATURE
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    import xarray as xr


def split_units(head: str) -> tuple[str, str]:
    """Split the head of a column into a name and units.

    Parameters
    ----------
    head
        Such as ``"precip [mm/d]"``; in round brackets there must be a letter, ``%`` or ``°``.

    Returns
    -------
    name, units
        Units are ``""`` where the head names none.

    Examples
    --------
    >>> split_units("precip [mm/d]"), split_units("QObs(mm/h)"), split_units("lag(1)")
    (('precip', 'mm/d'), ('QObs', 'mm/h'), ('lag(1)', ''))
    """
    head = head.strip()
    for opening, closing in ("[]", "()"):
        name, mark, units = head.removesuffix(closing).rpartition(opening)
        is_unit = opening == "[" or any(one.isalpha() or one in "%°" for one in units)
        if head.endswith(closing) and mark and name.strip() and is_unit:
            return name.strip(), units.strip()
    return head, ""


@dataclass(frozen=True)
class Scaling:
    """Center and spread of named values: a network reads ``(value - center) / spread``.

    Attributes
    ----------
    center, spread
        By name, in the unit of the values; a spread is above 0.

    Raises
    ------
    InputError
        If a name has only one of the two, or a number is not finite, or a spread is not above 0.

    Examples
    --------
    >>> Scaling({"rain": 2.0}, {"rain": 4.0})
    Scaling(rain: center 2, spread 4)
    """

    center: Mapping[str, float]
    spread: Mapping[str, float]

    def __post_init__(self) -> None:
        if lonely := sorted(self.center.keys() ^ self.spread.keys()):
            raise InputError(f"a scaling has only one of center and spread for {listed(lonely)}; give both")
        for name in self.center:
            center, spread = self.center[name], self.spread[name]
            if not (np.isfinite([center, spread]).all() and spread > 0):
                raise InputError(
                    f"the scaling of {quoted(name)} is center {center:g}, spread {spread:g}; expected finite numbers, "
                    "the spread above 0"
                )
        object.__setattr__(self, "center", MappingProxyType(dict(self.center)))
        object.__setattr__(self, "spread", MappingProxyType(dict(self.spread)))

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy does not pickle.
        return Scaling, (dict(self.center), dict(self.spread))

    def __repr__(self) -> str:
        return (
            f"Scaling({', '.join(f'{n}: center {self.center[n]:g}, spread {self.spread[n]:g}' for n in self.center)})"
        )

    def scaled(self, x: "xr.DataArray") -> "xr.DataArray":
        """Scale an input with named features, (..., feature).

        Raises
        ------
        InputError
            If a feature has no center and spread.

        Examples
        --------
        >>> import xarray as xr
        >>> x = xr.DataArray([[2.0], [6.0]], dims=("time", "feature"), coords={"feature": ["rain"]})
        >>> Scaling({"rain": 2.0}, {"rain": 4.0}).scaled(x).to_numpy().ravel().tolist()
        [0.0, 1.0]
        """
        own = self.of([str(name) for name in x[FEATURE].to_numpy().tolist()])
        center, spread = (x[FEATURE].copy(data=list(values.values())) for values in (own.center, own.spread))
        return (x - center) / spread

    def of(self, names: Sequence[str]) -> "Scaling":
        """Give the part for some names, under these names; units behind a name need not be the same.

        Raises
        ------
        InputError
            If a name has no center and spread.

        Examples
        --------
        >>> Scaling({"rain(mm/d)": 2.0, "snow": 0.0}, {"rain(mm/d)": 4.0, "snow": 1.0}).of(["rain"])
        Scaling(rain: center 2, spread 4)
        """
        short = [split_units(name)[0] for name in self.center]
        counts = Counter(short)
        known = {name: whole for name, whole in zip(short, self.center, strict=True) if counts[name] == 1}
        known |= {name: name for name in self.center}
        found = {name: known.get(name, known.get(split_units(name)[0])) for name in names}
        if missing := [name for name, whole in found.items() if whole is None]:
            raise InputError(
                f"the scaling has no center and spread for {listed(missing)}; it has them for {listed(self.center)}"
            )
        center, spread = (
            {name: values[whole] for name, whole in found.items() if whole is not None}
            for values in (self.center, self.spread)
        )
        return Scaling(center, spread)
