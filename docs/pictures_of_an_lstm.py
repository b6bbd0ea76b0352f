# %% [markdown]
# # Pictures of an LSTM
#
# Where you would rather look than read. Each picture is one function, from a value that tallycell gives to a
# `matplotlib.figure.Figure`; the extra `plot` installs what it needs. `save_picture` writes PNG, SVG or PDF. All
# pictures are 900 pixels wide, on white, in colours that colour-blind readers tell apart; what a colour says, a mark or
# a place says too. Names from files are written as the letters they are made of.
#
# This page makes its pictures itself, all but two, of the character model that tallycell ships.

# %%
from pathlib import Path

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.machine.shipped import shipped_machine
from tallycell.plot import plot_account, plot_effects, plot_machine, plot_saturation, plot_unit, save_picture

PICTURES = Path(__file__).parent / "pictures"
subject = open_input()  # the shipped model, and the text it ships with
model, given = subject.model, subject.given
trace = subject.record()
reading = tc.read_units(trace, given)

# %% [markdown]
# ## How binary are its gates?
#
# A gate that counts is at one of its limits. Each mark is a unit: to the right the share of steps at the left limit,
# upwards the share at the right limit. The three units that read best are named.

# %%
save_picture(plot_saturation(reading), PICTURES / "saturation.png")

# %% [markdown]
# ![Left against right share of saturated values of each unit, a panel a gate](pictures/saturation.png)
#
# The forget gates lie near the dashed line, tanh(c) far from it: the cells are read as amounts, not as signs.
#
# ## What does one unit do, step by step?
#
# From above: what each step forgets of the cell (a cross: a reset), what it writes (a triangle: a full step), the cell
# beside its tally and the quantity that it follows, and what the output gate shows. The picture chooses the stretch in
# which the cell moves most; spans choose others, with a title and notes.

# %%
unit = reading.leaders()["bracket depth"]
save_picture(plot_unit(trace, unit, given), PICTURES / "unit.png")

# %% [markdown]
# ![A unit that counts brackets, over two lines of text](pictures/unit.png)
#
# Two stretches beside each other say more than one. Here `plot_unit` is given two spans, each with a title and a note:
# one where the cell follows, and one where it does not.
#
# ![The same unit where it follows the depth of brackets, and where it does not](pictures/bracket_counter.png)
#
# (Drawn by `python examples/draw_bracket_counter.py FILE.png`.)
#
# The same works over dates and seconds; quantities named in `beside` get panels of their own, with their units.
#
# ## Which units matter?
#
# What the outputs lose when a cell is held at 0, with 95 % intervals, and beside it what the unit pushes.

# %%
effects = tc.measure_effects(model, given, kinds=["zero"])
save_picture(plot_effects(effects), PICTURES / "effects.png")

# %% [markdown]
# ![Losses of the fifteen units that matter most, with intervals](pictures/effects.png)
#
# ## What made this output?
#
# The account of one output: units by steps. Above stands the sum of each step, on the right that of each unit; with the
# bias they sum to the output. Behind `step = Step(*(getattr(steps, name)[t, rows]` the model gives `)` 90 %. What made
# that output, with the gates as they were?

# %%
line = "step = Step(*(getattr(steps, name)[t, rows]"
step = "".join(given.tokens).index(line) + len(line) - 1
account = tc.explain_output(model, given, step, ")")
save_picture(plot_account(account), PICTURES / "account.png")

# %% [markdown]
# ![What each unit and each step made of the output for a closing bracket](pictures/account.png)
#
# ## What does the machine look like?
#
# A counter machine as a state diagram. Graphviz lays it out where its program `dot` is there; else columns do. Rules
# that find no room at the edges are numbered and stand below.

# %%
save_picture(plot_machine(shipped_machine("anbncn"), graphviz=False), PICTURES / "machine.png")

# %% [markdown]
# ![The counter machine of a^n b^n c^n](pictures/machine.png)
#
# ## How far do networks count?
#
# One row a language: published results as stars, networks as they were trained as circles, hardened ones as triangles.
# An arrow: none failed as far as was looked. A bar: proved to that length. `tallycell scoreboard` draws it beside the
# [scoreboard](scoreboard.md).
#
# ![First failures of all languages of the scoreboard](pictures/scoreboard.png)
