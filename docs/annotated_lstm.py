# %% [markdown]
# # The annotated LSTM
#
# An LSTM cell is memory that counts. This page builds two small LSTMs whose weights are set by hand, runs them and
# looks at every gate of every step: first one unit that keeps the depth of brackets, then four that decide whether a
# string is some a's followed by as many b's. It is a Python file; what stands under a cell of code is what it printed.
# Only its pictures need more than tallycell itself: the extra `plot`.

# %%
import inspect
from itertools import product
from pathlib import Path

import numpy as np

import tallycell as tc
from tallycell.equations import lstm_step
from tallycell.plot import plot_unit, save_picture

PICTURES = Path(__file__).parent / "pictures"

# %% [markdown]
# ## One step
#
# Each gate stands behind its own linear projection of the input x and the previous output h. The projections are the
# **pre-activations** `i_pre f_pre g_pre o_pre`; what the activations make of them are the **gates** `i f g o`.
#
# 1. The **forget gate** `f` multiplies the old cell: 0 *resets* it to nothing, 1 *keeps* it as it is.
# 2. What is added is the product of two masks. The candidate `g`, a tanh, says *up or down*: +1 or -1. The **input
#    gate** `i`, a sigmoid, says *whether at all*: 1 or 0. So a step *increments*, *decrements* or *holds*.
# 3. The **output gate** `o` decides what others may see: tanh makes of the cell, which may be any number, nearly a
#    sign; `o` *exposes* or *hides* it.
#
# That is all. In the package it reads:

# %%
print(inspect.getsource(lstm_step))

# %% [markdown]
# `p_i p_f p_o` are peepholes, `clip` and `weight_hr` (a projection of h) belong to LSTMs found in the wild, and `hold`
# is for experiments that force a gate open or shut. Plain LSTMs, like those below, have none of them.
#
# ## Depth of brackets: one unit
#
# The alphabet is `( ) x ; ?`. An opening bracket should count up, a closing one down, `x` should change nothing, `;`
# should begin anew, and the depth should be seen at `?` only. One row of numbers a gate says so: what each symbol
# contributes to the gate's pre-activation. h is not needed, so its weights are zero.
#
# A sigmoid only nears 0 and 1. But numbers are finite: in float64, sigmoid(40) *is* 1 and tanh(40) is 1, while
# sigmoid(-40) is 4e-18, which vanishes as soon as it is added to anything. So 40 stands for "certainly".

# %%
YES, NO = 40.0, -40.0

alphabet = "()x;?"
weight_ih = [  # a column for each symbol: ( ) x ; ?
    [YES, YES, NO, NO, NO],  # i: write at brackets
    [YES, YES, YES, NO, YES],  # f: keep, except at ;
    [YES, NO, 0.0, 0.0, 0.0],  # g: up at (, down at )
    [NO, NO, NO, NO, YES],  # o: show at ?
]
depth_counter = tc.LSTMParameters({"weight_ih_l0": np.array(weight_ih), "weight_hh_l0": np.zeros((4, 1))})
print(depth_counter)


# %% [markdown]
# Symbols go in as one-hot vectors, shape (time, feature). `record_trace` gives back every gate and both states of every
# step, as an `xarray.Dataset`.


# %%
def run(parameters, alphabet, text):
    """Trace of one text."""
    return tc.record_trace(parameters, np.eye(len(alphabet))[[alphabet.index(symbol) for symbol in text]])


def show(trace, text, unit=0):
    """Print the gates, then the states, of one unit under the text."""
    print("   ", *(f"{symbol:>4}" for symbol in text))
    for name in ("f", "i", "g", "c", "o", "h"):
        values = trace[name].isel(layer=0, direction=0, sequence=0).sel(unit=unit).values
        print(f"{name:>3} ", *(f"{value + 0.0:4.2g}" for value in values.round(2)))


text = "(x(x)?)?;((?"
trace = run(depth_counter, alphabet, text)
show(trace, text)

# %% [markdown]
# Read it downwards. At each `(` the forget gate keeps (1), the input gate writes (1), the candidate says up (1), and
# the cell is one higher. At `x` the input gate is 0: hold. At `;` the forget gate is 0: reset. The output gate is 1 at
# `?` alone, and there h is tanh of the depth: 0.76 for 1, 0.96 for 2, 0 for none. tanh(c) is a sign only roughly, and
# whoever reads h must allow for 0.76.
#
# The same in a picture. `read_units` says in words what the cell does, from its gates alone; a longer text gives it
# more to go by.

# %%
longer = "(x(x)?)?;((?x)))(x)?;(((x?)))x()?" * 10
trace = run(depth_counter, alphabet, longer)
unit = tc.read_units(trace, longer).units[0]
print(unit.sentence)
save_picture(plot_unit(trace, unit, longer), PICTURES / "annotated.png")

# %% [markdown]
# ![The unit that counts brackets: what each step forgets and writes, its cell, what is shown](pictures/annotated.png)
#
# How long does it count right? As long as the number format can: up to 2^53 in float64, 2^24 in float32. The cell
# against a plain tally, over a text a thousand times as long:

# %%
long_text = text * 1000
tally, tallies = 0, []
for symbol in long_text:
    tally = 0 if symbol == ";" else tally + (symbol == "(") - (symbol == ")")
    tallies.append(tally)
c = run(depth_counter, alphabet, long_text).c.values.ravel()
error = np.abs(c - tallies).max()
print(f"{len(long_text)} steps, deepest {max(tallies)}, largest error of the cell {error:.0e}")
assert error < 1e-12

# %% [markdown]
# The error is not zero because of `;`: its forget gate is 4e-18, not 0. A step that only counts is exact.
#
# ## As many b's as a's: counters that control one another
#
# A string of the language a^n b^n, n at least 1, is `ab`, `aabb`, `aaabbb`, and so on. Counting up at a and down at b
# and looking for a zero is not enough: `abab` and `ba` end at zero too. Three more units remember what went wrong. What
# a gate can know beside the symbol is h, the exposed signs of all cells one step ago:
#
# | unit | its cell counts | its input gate opens |
# |---|---|---|
# | 0 | a's less b's | always; the candidate says up at a, down at b |
# | 1 | b's | at b |
# | 2 | b's without an a | at b, unless unit 0 shows a positive sign |
# | 3 | a's after a b | at a, if unit 1 shows a positive sign |
#
# A positive sign is shown as tanh(1) = 0.76 or more, its absence as 0 or less, so 120 h is at least 91 or at most 0.
# For unit 2, i_pre at b is 40 - 120 h_0: at least 40, or at most -51. At a it is -160 - 120 h_0, which is at most -40
# even for h_0 = -1.

# %%
i, f, g, o = range(4)  # the order of the gates' rows
from_symbol = np.zeros((4, 4, 2))  # gate, unit, symbol a or b
from_h = np.zeros((4, 4, 4))  # gate, unit, unit whose h it sees

from_symbol[f] = YES  # keep, always
from_symbol[o] = YES  # show, always
from_symbol[g] = [[YES, NO], [YES, YES], [YES, YES], [YES, YES]]
from_symbol[i] = [[YES, YES], [NO, YES], [4 * NO, YES], [NO, 4 * NO]]
from_h[i, 2, 0] = 3 * NO
from_h[i, 3, 1] = 3 * YES

recogniser = tc.Recogniser(
    alphabet=("a", "b"),
    inputs=np.eye(2),
    parameters=tc.LSTMParameters({"weight_ih_l0": from_symbol.reshape(16, 2), "weight_hh_l0": from_h.reshape(16, 4)}),
    readout_weight=[[-2.0, 1.0, -4.0, -2.0]],
    readout_bias=[-0.5],
    outputs=("accept",),
    decision="threshold",
)

# %% [markdown]
# The readout says yes where unit 1 shows (a b has been read) and no other does: then it is 0.76 - 0.5 or more. Here is
# what the first three cells do with a member and with a near miss, one b too many.

# %%
for text in ("aaabbb", "aabbb"):
    trace = run(recogniser.parameters, "ab", text)
    for unit in range(3):
        print(f"unit {unit}")
        show(trace, text, unit)
    h = trace.h.isel(layer=0, direction=0, sequence=0, time=-1).values
    print(f"{text} {'accepted' if recogniser.decide(h)[0] else 'rejected'}\n")

# %% [markdown]
# Looking is not proving. All strings of up to 12 symbols, members and others:


# %%
def accepts(strings):
    """Decide on strings of one length, all at once."""
    one_hot = np.stack([recogniser.inputs[recogniser.encode(string)] for string in strings], axis=1)
    trace = tc.record_trace(recogniser, one_hot, record=tc.Record("h"))
    return recogniser.decide(trace.h.isel(layer=0, direction=0, time=-1).values)[:, 0]


checked = wrong = 0
for length in range(1, 13):
    strings = ["".join(symbols) for symbols in product("ab", repeat=length)]
    member = [string == "a" * (length // 2) + "b" * (length // 2) for string in strings]
    checked += len(strings)
    wrong += int((accepts(strings) != member).sum())
print(f"{checked} strings, {wrong} decided wrongly")
assert wrong == 0

# %% [markdown]
# And far beyond what can be tried in full, each member with its near misses, one more and one fewer:

# %%
for n in (10, 100, 1000):
    strings = ["a" * n + "b" * n, "a" * n + "b" * (n + 1), "a" * n + "b" * (n - 1)]
    decisions = [bool(accepts([string])[0]) for string in strings]
    print(f"n = {n}: member {decisions[0]}, one b more {decisions[1]}, one b fewer {decisions[2]}")
    assert decisions == [True, False, False]

# %% [markdown]
# ## And trained LSTMs?
#
# Their gates are not set to 40 and -40, but training often drives them a good part of the way. How far, gate by gate,
# is a measurement, and how well a tally then explains each cell is another: `tallycell read` prints both.
