"""Whether what was read can be what the network was trained on."""

from collections.abc import Sequence

import numpy as np

from tallycell.wording import listed

AT_A_LIMIT = 0.9  # share of the gate values from which they hardly react to what is read
FAR = 10.0  # |mean| + spread of a feature: what was scaled for a network, or is 0 and 1, stays far below


def warning_on(names: Sequence[str], mean: np.ndarray, spread: np.ndarray, saturated: float) -> str:
    """Say that the input cannot be what the network was trained on; empty where nothing speaks for it.

    It cannot where features lie far from where gates work and nearly all gate values are at a limit, whatever is read.

    Parameters
    ----------
    names, mean, spread
        Of the features, as the network read them.
    saturated
        Share of gate values at a limit.
    """
    if not names or saturated < AT_A_LIMIT:
        return ""
    far = np.flatnonzero(np.abs(mean) + spread > FAR)
    if not far.size:
        return ""
    worst = int(far[np.argmax((np.abs(mean) + spread)[far])])
    return (
        f"{saturated:.0%} of the gate values are at a limit, and {far.size} of {len(names)} features lie far from "
        f"where gates work ({listed([names[k] for k in far.tolist()], 3)}; {names[worst]} has mean {mean[worst]:.3g}, "
        f"spread {spread[worst]:.3g}): was the network trained on scaled input? Scale it the same way (--scale FILE, "
        "scaling=), or the reading says nothing of its use"
    )
