"""Networks whose cells were set by hand, so that what each of them does is known, and what they read."""

import numpy as np

import tallycell as tc

BIG = 100.0
SYMBOLS = "()x\n"


def network(units, symbols=SYMBOLS):
    """One unit a row of what each symbol does: (write, forget) by symbol; write in i g, forget 1 keeps.

    The gates are saturated, so that the cell is exactly what the table says; a forget between 0 and 1 is f itself.
    """
    size, width = len(units), len(symbols)
    i, f, g, o = np.zeros((4, size, width))
    for k, table in enumerate(units):
        for s, symbol in enumerate(symbols):
            write, keep = table.get(symbol, (0, 1))
            i[k, s] = BIG if write else -BIG
            g[k, s] = BIG * np.sign(write) if abs(write) == 1 else np.arctanh(write)
            f[k, s] = {0: -BIG, 1: BIG}.get(keep, np.log(keep / (1 - keep)) if 0 < keep < 1 else 0)
    return tc.LSTMParameters({"weight_ih_l0": np.concatenate([i, f, g, o]), "weight_hh_l0": np.zeros((4 * size, size))})


def read(parameters, text, symbols=SYMBOLS, **options):
    x = np.array([[symbol == s for s in symbols] for symbol in text], dtype=float)
    return tc.read_units(tc.record_trace(parameters, x), tokens=text, **options)


def random_text(seed=0, steps=3000, symbols=SYMBOLS, chances=(0.3, 0.3, 0.3, 0.1)):
    return "".join(np.random.default_rng(seed).choice(list(symbols), steps, p=chances))


def amounts_network(keep, write=1.0, lose=0.0):
    """One unit that adds tanh(write * the first feature), and keeps a share of the cell.

    What it keeps is sigmoid(logit(keep) - lose * the second feature).
    """
    weights = np.array([[0, 0], [0, -lose], [write, 0], [0, 0]], dtype=float)
    bias = np.array([BIG, np.log(keep / (1 - keep)) if keep < 1 else BIG, 0, 0])
    return tc.LSTMParameters(
        {"weight_ih_l0": weights, "weight_hh_l0": np.zeros((4, 1)), "bias_ih_l0": bias, "bias_hh_l0": np.zeros(4)}
    )


def weather(seed=0, steps=3000):
    """Rain on three of ten days, and how warm it is, a year to a turn."""
    draw = np.random.default_rng(seed)
    rain = draw.exponential(0.3, steps) * (draw.random(steps) < 0.3)
    warmth = np.sin(2 * np.pi * np.arange(steps) / 365) + 0.3 * draw.normal(size=steps)
    return np.stack([rain, warmth], axis=1)
