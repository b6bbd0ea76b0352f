# %% [markdown]
# # Another gated cell: what does my GRU keep?
#
# tallycell reads any memory of the form c' = f c + i g: something is kept, something is written. A GRU has this form,
# and so have many cells that people write themselves. `tc.trace_of` makes a trace of the arrays that you have; from
# there on all is as with an LSTM. This page does it with `torch.nn.GRU`, beside an LSTM with the same task. The
# answer: the LSTM counts in one cell, up at `a` and down at `b`, and remembers for some two hundred steps; no cell of
# the GRU counts in this sense or remembers for more than about twenty, and the reason is in its equation.
#
# ## A task that needs a counter
#
# Random strings of `a` and `b`. After each symbol the network says whether there were more `a` than `b` so far. Both
# networks have 8 units and see strings of 50 symbols.

# %%
import numpy as np
import torch
from torch import nn

import tallycell as tc

torch.set_num_threads(1)  # so small a network is slower on two
SYMBOLS, UNITS, LONG = "ab", 8, 50


def draw(count, length, rng):
    """Draw symbols as numbers, (time, sequence), and whether there were more of the first so far."""
    symbols = rng.integers(2, size=(length, count))
    return torch.tensor(symbols), torch.tensor(np.cumsum(1 - 2 * symbols, axis=0) > 0)


def train(cell, steps=500):
    """Train a recurrent layer with a linear layer behind it; give both."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    layer, out = cell(2, UNITS), nn.Linear(UNITS, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *out.parameters()], 0.02)
    for _ in range(steps):
        symbols, more = draw(64, LONG, rng)
        logits = out(layer(nn.functional.one_hot(symbols, 2).float())[0])[..., 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, more.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer, out


@torch.no_grad()
def share_right(layer, out, length):
    """Share of the symbols behind which the answer is right, in 100 new strings."""
    symbols, more = draw(100, length, np.random.default_rng(1))
    logits = out(layer(nn.functional.one_hot(symbols, 2).float())[0])[..., 0]
    return float(((logits > 0) == more).float().mean())


trained = {name: train(cell) for name, cell in (("LSTM", nn.LSTM), ("GRU", nn.GRU))}
for length in (50, 500, 2000):
    print(
        f"{length:>5} symbols:", ", ".join(f"{name} {share_right(*net, length):.1%}" for name, net in trained.items())
    )

# %% [markdown]
# ## The gates of the GRU
#
# One step of `torch.nn.GRU` is h' = (1 - z) n + z h. So it keeps f = z, writes i = 1 - z times g = n, and its cell is
# h. PyTorch does not hand out z and n, but they follow from the weights, which lie in the order r, z, n.

# %%


@torch.no_grad()
def gates_of_gru(gru, x):
    """Run a GRU by its equations; z, n and h of every step."""
    h, found = torch.zeros(x.shape[1], gru.hidden_size), []
    for at in x:
        of_x, of_h = at @ gru.weight_ih_l0.T + gru.bias_ih_l0, h @ gru.weight_hh_l0.T + gru.bias_hh_l0
        (r_x, z_x, n_x), (r_h, z_h, n_h) = of_x.chunk(3, 1), of_h.chunk(3, 1)
        z, n = (z_x + z_h).sigmoid(), (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
        h = (1 - z) * n + z * h
        found.append((z, n, h))
    return [torch.stack(some).numpy() for some in zip(*found, strict=True)]


gru, _ = trained["GRU"]
symbols, _ = draw(40, 200, np.random.default_rng(2))
x = nn.functional.one_hot(symbols, 2).float()
z, n, h = gates_of_gru(gru, x)
assert np.allclose(h, gru(x)[0].detach(), atol=1e-5)  # the equations are torch's

trace = tc.trace_of(i=1 - z, f=z, g=n, c=h, x=x)
tokens = [[SYMBOLS[k] for k in row] for row in symbols.T.tolist()]
print(tc.read_units(trace, tokens))

# %% [markdown]
# Now the LSTM, on the same strings.

# %%
lstm, _ = trained["LSTM"]
of_lstm = tc.record_trace(lstm, x)
print(tc.read_units(of_lstm, tokens))

# %% [markdown]
# ## Why a GRU cannot count
#
# To count is to keep everything *and* to add one. In an LSTM these are two gates: f = 1 and i = 1 at the same step.
# In a GRU they are one: what it writes it takes from what it keeps. With z = 1 it keeps all and writes nothing; with
# z = 0.9 it adds a tenth of n and loses a tenth of what it held. So its cell is a mean of what it wrote and never
# leaves -1 to 1, and each further step is smaller than the last. It can hold a flag for ever, and count as far as its
# floating-point numbers tell one small step from the next, but not further. (Weiss, Goldberg and Yahav, "On the
# Practical Computational Power of Finite Precision RNNs for Language Recognition", 2018, say so and measure it.) The
# figures: how far the cells go, and how much is kept where much is written.

# %%
for name, one in (("LSTM", of_lstm), ("GRU", trace)):
    kept = one.f.values[one.i.values > 0.5]
    print(
        f"{name}: the largest cell is {abs(one.c.values).max():.1f}; "
        f"where i is above 0.5, f is {np.median(kept):.2f} in the median"
    )
