# %% [markdown]
# # My own trained counter
#
# You trained an LSTM of PyTorch on something that counts. Does it count? This page goes from an ordinary training
# loop to a network that is proved to count, in five calls. It runs in half a minute.
#
# ## An ordinary training loop
#
# The model reads brackets and says after each which symbol may follow, and whether the string may end. It is an
# embedding, `torch.nn.LSTM` and a linear layer, trained by Adam on balanced beginnings of at most 30 brackets.
# Nothing in it knows of tallycell.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import tallycell as tc

torch.set_num_threads(1)
SYMBOLS, OUTPUTS = "()", ("(", ")", "accept")


class Model(nn.Module):
    """What may follow each bracket."""

    def __init__(self, units):
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), 4)
        self.lstm = nn.LSTM(4, units, batch_first=True)
        self.out = nn.Linear(units, len(OUTPUTS))

    def forward(self, numbers):
        """Give a score for each output after each symbol."""
        return self.out(self.lstm(self.embedding(numbers))[0])


def draw_strings(rng, count, longest):
    """Draw beginnings of balanced strings."""
    strings = []
    for _ in range(count):
        text, depth, climbs = "", 0, rng.uniform(0.3, 0.7)
        for _ in range(rng.integers(1, longest + 1)):
            opens = depth == 0 or rng.random() < climbs
            text, depth = text + ("(" if opens else ")"), depth + (1 if opens else -1)
        strings.append(text)
    return strings


def padded(strings):
    """Lay strings side by side: numbers of symbols, what is right after each, and where there is a symbol."""
    numbers = torch.zeros(len(strings), max(map(len, strings)), dtype=torch.long)
    right, there = torch.zeros(*numbers.shape, 3), torch.zeros(numbers.shape)
    for row, text in enumerate(strings):
        codes = torch.tensor([SYMBOLS.index(symbol) for symbol in text])
        depth = (1 - 2 * codes).cumsum(0)
        numbers[row, : len(text)], there[row, : len(text)] = codes, 1
        right[row, : len(text)] = torch.stack([torch.ones(len(text)), depth > 0, depth == 0], 1)
    return numbers, right, there


def train(units=3, steps=600, seed=1):
    """Train on strings that become longer."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Model(units)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for step in range(steps):
        numbers, right, there = padded(draw_strings(rng, 32, min(4 + step // 15, 30)))
        loss = nn.functional.binary_cross_entropy_with_logits(model(numbers), right, reduction="none").mean(-1)
        optimizer.zero_grad()
        ((loss * there).sum() / there.sum()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


model = train()

# %% [markdown]
# ## Make it a recogniser
#
# A *recogniser* is an LSTM with its alphabet and the rule by which it decides. `from_torch` finds the parts by
# running your module, and sees that they give what the module gives to within 1e-5; what it cannot express it
# refuses, with the layer named. `decision` is how you read the scores: here each output whose score is above 0
# (`"argmax"`, `"softmax above 0.1"` and `"classes"` are others).

# %%
network = tc.Recogniser.from_torch(model, alphabet=SYMBOLS, outputs=OUTPUTS, decision="threshold")
print(network)

# %% [markdown]
# ## What does it count?
#
# `extract_machine` reads the counter machine that the network is. Say what it is meant to read: on strings that it
# never saw, such as `())`, nobody taught it anything, and a machine that says what it does there says nothing about
# counting.

# %%
strings = draw_strings(np.random.default_rng(99), 300, 30)
extraction = tc.extract_machine(network, inputs=strings)
print(extraction)

# %% [markdown]
# The first line is the answer. *Exact* means that no difference was seen on these strings, and no more. Then comes
# the program: one counter and one comparison each. What stands below is not at its limits: gates that are nearly, not
# quite, 0 and 1. On 30 brackets that makes no difference.
#
# ## How far does it go?
#
# Those gates add up. Nobody trains on deep strings; this one opens 50,000 brackets and closes them again.


# %%
DEEP = "(" * 50_000 + ")" * 50_000


def may_end(one):
    """Say after how many symbols of the deep string a network says that it may end; the first three."""
    trace = tc.record_trace(one, one.inputs[one.encode(DEEP)])
    scores = tc.outputs(one, trace).sel(output="accept").isel(sequence=0).to_numpy()
    return (np.flatnonzero(scores > 0) + 1)[:3].tolist()


print(f"the trained network may end after {may_end(network)} symbols; right is only after all {len(DEEP):,}")

# %% [markdown]
# ## Harden it
#
# `harden` compiles the machine into the same LSTM: as many units, gates that are exactly 0 or 1. Had the extraction
# not been exact, it would have refused. `counting_horizon` then *proves* to what length the network decides as the
# machine, rounding included.

# %%
hardened = tc.harden(network, inputs=strings)
print("the units of the old network:", hardened.same_units)
print(tc.counting_horizon(hardened.extraction.machine, hardened.net))
print(f"the hardened network may end after {may_end(hardened.net)} symbols")

# %% [markdown]
# The hardened network is an ordinary LSTM: `hardened.net.parameters.weights` loads into `torch.nn.LSTM`, and
# `tallycell.save(hardened.net, "exact.safetensors")` keeps it.
#
# ## The same from files
#
# A state_dict is enough for the command line. The exit status is 0 if the machine is exact, else 1.

# %%
COMMAND = "tallycell extract counter.pt --alphabet () --decision threshold --inputs strings.txt --outputs"

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    torch.save(model.state_dict(), folder / "counter.pt")
    (folder / "strings.txt").write_text("\n".join(strings), encoding="utf-8")
    arguments = [sys.executable, "-m", *COMMAND.split(), " ".join(OUTPUTS)]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, encoding="utf-8", check=True)
    print("\n".join(done.stdout.splitlines()[:8]))

# %% [markdown]
# ## When it is not exact
#
# A larger network with fewer steps of training keeps its depth in half-open gates. Then the five lines say so, and
# what to try; the program of the machine that fits best is written only if you ask for it.

# %%
early = tc.Recogniser.from_torch(train(units=8, steps=60), alphabet=SYMBOLS, outputs=OUTPUTS, decision="threshold")
print("\n".join(tc.extract_machine(early, inputs=strings).answer))
try:
    tc.harden(early, inputs=strings)
except ValueError as error:
    print("\nharden:", error)

# %% [markdown]
# ## What to try next
#
# - Networks that are trained with noise on their gates come out exact more often, and small ones too: [learning to
#   count](../learning.md). `tallycell train my.machine` does it for a language of your own, written in [the
#   notation](../notation.md).
# - `inputs=` may also be a machine without counters that lets strings through.
# - [What breaks a network](../extraction.md#what-breaks-a-network), and [what a proof
#   assumes](../checking.md#what-is-assumed).
