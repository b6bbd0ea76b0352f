"""Whether what was read can be what the network was trained on."""

import numpy as np
import xarray as xr

from tallycell.reading.saturation import saturated_share
from tallycell.reading.triggers import Amounts
from tallycell.wording import listed

AT_A_LIMIT = 0.9  # share of the gate values from which they hardly react to what is read
FAR = 10.0  # |mean| + spread of a feature: what was scaled for a network, or is 0 and 1, stays far below


def warning_on(x: Amounts | None, saturation: xr.Dataset) -> str:
    """Say that the input cannot be what the network was trained on; empty where nothing speaks for it.

    It cannot where features lie far from where gates work and nearly all gate values are at a limit, whatever is read.

    Parameters
    ----------
    x
        Features as the network read them.
    saturation
        As :func:`~tallycell.reading.saturation.read_saturation` gives it.
    """
    share = float(saturated_share(saturation).mean())
    if x is None or share < AT_A_LIMIT:
        return ""
    mean, spread = np.abs(x.values.mean(axis=1)), x.values.std(axis=1)
    far = np.flatnonzero(mean + spread > FAR)
    if not far.size:
        return ""
    worst = far[np.argmax((mean + spread)[far])]
    return (
        f"{share:.0%} of the gate values are at a limit, and {far.size} of {len(x.names)} features lie far from where "
        f"gates work ({listed([x.names[k] for k in far], 3)}; {x.names[worst]} has mean {x.values[worst].mean():.3g}, "
        f"spread {spread[worst]:.3g}): was the network trained on scaled input? Scale it the same way (--scale FILE, "
        "scaling=), or the reading says nothing of its use"
    )
