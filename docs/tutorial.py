# %% [markdown]
# # The tutorial: ten minutes with an LSTM
#
# You need tallycell and nothing else: it ships a small language model, trained to guess the next character of
# Python's standard library, and a text to read. By the end you will have seen every gate of it, found a cell that
# counts brackets, switched that cell off, and built an LSTM that counts exactly.
#
# ## 1. A model and what it reads
#
# `tc.load` opens ten file formats (PyTorch, ONNX, Keras, ...), `tc.open_text` cuts a text into the symbols that the
# model knows. `tc.open_table` and `tc.open_audio` do the same for series and sounds.

# %%
from pathlib import Path

import numpy as np

import tallycell as tc

shipped = Path(tc.__file__).parent / "shipped"
model = tc.load(shipped / "stdlib_characters.safetensors")
given = tc.open_text(model, shipped / "sample.txt")
print(model)
print(given)

# %% [markdown]
# ## 2. Every gate of every step
#
# `tc.record_trace` runs the LSTM and keeps all of it as an `xarray.Dataset`: the input gate `i`, the forget gate `f`,
# the candidate `g` (which way), the output gate `o`, the cell `c` and what it shows, `h`. Dimensions go by name.

# %%
trace = tc.record_trace(model, given)
print(dict(trace.sizes))
cell = trace.sel(unit=27).isel(layer=0, direction=0, sequence=0)
begin = 15_797
print("symbol      f     i     g       c")
for step in range(begin, begin + 30):
    at = cell.isel(time=step)
    print(f"{given.tokens[step]!r:<8}{at.f:6.2f}{at.i:6.2f}{at.g:6.2f}{at.c:8.2f}")

# %% [markdown]
# ## 3. What does each cell count?
#
# `tc.read_units` says so in a sentence a unit, with the share of the cell's movement that an ideal counter explains
# (R², on steps that it was not fitted on).

# %%
reading = tc.read_units(trace, given)
for unit in reading.best(3):
    print(f"{unit.label}  R² {unit.r2:.2f}  {unit.sentence}\n")

# %% [markdown]
# One of them is unit 0.27, whose cell you saw above: it counts brackets. What stands behind the sentence is in the
# unit:

# %%
brackets = next(unit for unit in reading.units if unit.label == "0.27")
print(brackets.sentence)
for event in ("increment", "decrement", "reset"):
    print(f"{event:<10}", ", ".join(f"{one.stimulus} {one.share:.0%}" for one in brackets.triggers[event]))

# %% [markdown]
# ## 4. What is it for?
#
# A sentence says what a cell does, not what the network does with it. So hold the cell at 0 and look at what the
# outputs lose. The outputs are the probabilities of the next character; a closing bracket should suffer.

# %%
free = tc.outputs(model, trace)
without = tc.outputs(model, tc.record_trace(model, given, hold=tc.Hold("c", 0.0, units=[27])))
column = list(free.output.values).index(")")
before_brackets = np.flatnonzero(np.array(given.tokens) == ")") - 1


def bits(outputs):
    """Bits that the closing brackets of the text take."""
    logits = outputs.isel(sequence=0, time=before_brackets).transpose("time", "output").values
    return float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[:, column]) / np.log(2))


print(f"a closing bracket takes {bits(free):.2f} bits; with unit 0.27 held at 0 it takes {bits(without):.2f}")

# %% [markdown]
# `tc.measure_effects` does so for all units at once, with intervals, and `tallycell read` shows the result first.
#
# ## 5. Why did it say that?
#
# Choose a step at which the network expects a closing bracket, and ask what that rests on. The account is an exact
# sum over what was written to the cells at earlier steps.

# %%
logits = free.isel(sequence=0).transpose("time", "output").values
probability = np.exp(logits[:, column] - np.logaddexp.reduce(logits, axis=1))
step = begin + int(probability[begin : begin + 200].argmax())
account = tc.explain_output(model, given, step, ")")
print(f"after {''.join(given.tokens[step - 30 : step + 1])!r} the model expects ')' with p = {probability[step]:.2f}\n")
print(account)

# %% [markdown]
# ## 6. A network that counts exactly
#
# The shipped model counts brackets well enough to guess characters. An LSTM can do better: here is a counter machine
# for a^n b^n, compiled into the weights of an LSTM. It is checked against its machine, and the *horizon* says how
# long strings may be before floating-point numbers end the proof.

# %%
machine = tc.parse(
    """
    alphabet a b
    counter n
    state climbing:
      on a           n +1
      on b  n > 0    n -1 -> falling
    state falling:
      on b  n > 0    n -1
      accept when n = 0
    otherwise fail
    """
)
network = tc.compile_machine(machine)
print(tc.check_machine(machine, network, language=lambda n: "a" * n + "b" * n))

# %% [markdown]
# ## Where to go from here
#
# - With a model of your own: `tallycell read MODEL --text FILE` (or `--array`, `--audio`); the
#   [how-to pages](index.md) do it for a streamflow model, a speech detector and a tagger.
# - [The annotated LSTM](annotated_lstm.py) sets every weight by hand.
# - [Why counters, and when a reading misleads](why_counters.md) says what may be concluded.
