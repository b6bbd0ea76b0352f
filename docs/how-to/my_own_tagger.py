# %% [markdown]
# # What does the LSTM in my tagger remember?
#
# You have a PyTorch model with an `nn.LSTM` somewhere inside, and you want to know which cell keeps what. The answer
# takes three lines: run the model once inside `tc.capture`, give the trace and the tokens to `tc.read_units`, print the
# reading. This page trains a small tagger, does that, and finds the cell in which it keeps the word *not*.
#
# ## A tagger that has to remember
#
# The task: mark each opinion word as praise or blame. `good` is praise and `awful` is blame, unless `not` or `n't`
# stood before it in the same sentence; then it is the other way round. The full stop ends the sentence and the
# negation with it. Many words may stand between, so the network must remember.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tallycell as tc
from tallycell.plot import Span, plot_unit, save_picture

torch.set_num_threads(1)  # so small a network is slower on two

PRAISE, BLAME = ["good", "fine", "great", "lovely", "funny"], ["bad", "awful", "dull", "boring", "sad"]
NEGATIONS = ["not", "n't"]
PLAIN = ["the", "a", "this", "that", "film", "plot", "cast", "music", "story", "was", "is", "looked", "felt"]
PLAIN += ["and", "but", "very", "rather", "so", ","]
VOCABULARY = ["<pad>", ".", *NEGATIONS, *PRAISE, *BLAME, *PLAIN]
NOTHING, IS_BLAME, IS_PRAISE = 0, 1, 2  # the tags


def write_words(draw, count):
    """Write sentences of 10 to 30 words, half of them with a negation, cut after so many words."""
    words = []
    while len(words) < count:
        length = draw.integers(10, 31)
        sentence = draw.choice(PLAIN, length).tolist()
        for k in np.flatnonzero(draw.random(length) < 0.15):
            sentence[k] = draw.choice(PRAISE + BLAME)
        if draw.random() < 0.5:
            sentence[draw.integers(length // 2)] = draw.choice(NEGATIONS)
        words += [*sentence, "."]
    return words[:count]


def follow_negation(words):
    """Say after each word whether the sentence is negated so far."""
    negated, after = False, []
    for word in words:
        negated = word != "." and (negated or word in NEGATIONS)
        after.append(negated)
    return after


def tag(words):
    """Give the right tag of each word."""
    tags = []
    for word, negated in zip(words, follow_negation(words), strict=True):
        opinion = word in PRAISE or word in BLAME
        tags.append((IS_BLAME if (word in BLAME) != negated else IS_PRAISE) if opinion else NOTHING)
    return tags


def padded(rows):
    """Lay rows of different length into one tensor, 0 behind the end of each."""
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def to_numbers(words):
    """Number words by their place in the vocabulary."""
    return [VOCABULARY.index(word) for word in words]


names = {IS_PRAISE: "(praise)", IS_BLAME: "(blame)"}
words = write_words(np.random.default_rng(4), 40)
print(*(f"{word} {names[kind]}" if kind else word for word, kind in zip(words, tag(words), strict=True)))

# %% [markdown]
# ## Its model and its training
#
# An embedding, a bidirectional LSTM of two layers, a linear layer. Two choices in the training help memory to settle in
# cells: the forget gates start open (a bias of 3), and the weights from h back into the gates decay strongly. What
# happens without them stands at the end of the page. No weight is set by hand.


# %%
class Tagger(nn.Module):
    """Embedding, LSTM, linear layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), 8)
        self.lstm = nn.LSTM(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, ids, lengths=None, noise=0.0):
        """Give the scores of the three tags for each word; with lengths, no padding is read."""
        x = self.embedding(ids)
        x = x + noise * torch.randn_like(x)
        if lengths is None:
            return self.out(self.lstm(x)[0])
        packed, _ = self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return self.out(pad_packed_sequence(packed, batch_first=True)[0])


def train(seed=0, forget_bias=3.0, recurrent_decay=3.0, steps=400):
    """Train a tagger on 1,000 texts of 40 words."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    texts = [write_words(draw, 40) for _ in range(1000)]
    ids, tags = padded(map(to_numbers, texts)), padded(map(tag, texts))
    model = Tagger()
    for name, values in model.lstm.named_parameters():
        if "bias_ih" in name:
            values.data[8:16] += forget_bias  # rows of the forget gate: i, f, g, o
    recurrent = [values for name, values in model.named_parameters() if "weight_hh" in name]
    others = [values for name, values in model.named_parameters() if "weight_hh" not in name]
    groups = [{"params": recurrent, "weight_decay": recurrent_decay}, {"params": others, "weight_decay": 0.01}]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.04, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 1.0]))
    for _ in range(steps):
        chosen = torch.randint(len(ids), (128,))
        loss = loss_of(model(ids[chosen], noise=0.3).flatten(0, 1), tags[chosen].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


model = train()

# %% [markdown]
# ## Record it while it runs
#
# `tc.capture(model)` changes nothing about the model: it copies what the LSTM reads and gives out, and computes the
# gates afterwards. Run the model as you always do, here on 80 new texts of 25 to 40 words, padded and packed.

# %%
draw = np.random.default_rng(1000)
texts = [write_words(draw, draw.integers(25, 41)) for _ in range(80)]
ids, tags = padded(map(to_numbers, texts)), padded(map(tag, texts))
lengths = torch.tensor([len(text) for text in texts])

with torch.no_grad(), tc.capture(model) as seen:
    guess = model(ids, lengths).argmax(-1)

opinions = tags != NOTHING
print(f"right tags of opinion words never seen: {(guess == tags)[opinions].float().mean():.1%} of {opinions.sum():,}")
print(seen)
trace = seen["lstm"]
print(dict(trace.f.sizes))

# %% [markdown]
# The LSTM stands at `lstm`, its name in the module. The trace holds every gate and cell of both layers and both
# directions, without the padding.
#
# ## Read it
#
# `tokens=` takes the padded ids as they are; `vocabulary=` gives the word of each. `quantities=` is optional: what you
# suspect that a cell keeps, a number for each word (NaN behind the end of a text). Here that is whether the sentence is
# negated so far.

# %%
negated = np.full(ids.shape, np.nan)
for row, text in zip(negated, texts, strict=True):
    row[: len(text)] = follow_negation(text)

reading = tc.read_units(trace, tokens=ids, quantities={"negation": negated}, vocabulary=VOCABULARY)
print(reading)

# %% [markdown]
# A unit is called by its layer and its number: `0.1` is the second of the first layer, and an `r` behind it means the
# direction that reads backwards. Its *role* comes from written rules that look at the cell alone: they knew nothing of
# your suspicion. (R², *numbers*: how much of the cell a counter of so few fitted numbers explains, on words that it was
# not fitted on.)
#
# ## The negation cell

# %%
flags = [unit for unit in reading.units if unit.role == "flag"]
for unit in flags:
    print(f"{unit.label}  {unit.sentence}")

best = max(flags, key=lambda unit: abs(unit.follows.correlation) if unit.follows else 0)
text = next(text for text in texts if text.index("not" if "not" in text else ".") in range(3, 12))
cell = trace.c.sel(layer=best.layer, direction=best.direction, unit=best.unit)
print(f"\nUnit {best.label} over one text:")
print(" ".join(f"{word} {value:+.1f}" for word, value in zip(text, cell[texts.index(text)].values, strict=False)))

picture = plot_unit(trace, best, texts, spans=Span(0, len(text), sequence=texts.index(text)))
save_picture(picture, Path(__file__).parent.parent / "pictures" / "negation_cell.png")

# %% [markdown]
# ![The negation cell over one text: set at "not", kept to the full stop](../pictures/negation_cell.png)
#
# A *flag* is a cell that takes two values. One step sets it, another clears it, and between them it keeps. Nobody told
# the reading that this task has a negation: *set at 'not' and "n't"; cleared at '.'* is what the trained cell does.
# *Forgets within* so many steps means that the cell keeps, on average over all words, as long as that, full stops
# included: what it holds is gone when its sentence is.
#
# Several units carry the flag: the network has room for more than one copy. All of them read forwards. They must, for a
# negation counts only for what comes after it.
#
# ## Does the tagger use it?
#
# A reading describes. To see that a cell matters, take it away: `tc.capture(model, hold=...)` holds the input gates of
# some units at 0 while your own model runs, so that nothing is ever written into them. All else is as it was.


# %%
def tag_without(units):
    """Tag again with nothing ever written into some units of the first layer's forward direction."""
    with torch.no_grad(), tc.capture(model, hold=tc.Hold("i", 0.0, units=units)):
        return model(ids, lengths).argmax(-1)


layer_0 = [unit.unit for unit in flags if unit.layer == 0]
others = [unit for unit in range(8) if unit not in layer_0][: len(layer_0)]
after_not = opinions & torch.from_numpy(negated == 1)
for name, units in (("nothing", []), ("the flags", layer_0), ("as many others", others)):
    right = tag_without(units) == tags
    shares = (right[where].float().mean() for where in (after_not, opinions & ~after_not))
    print("without {:<15} {:4.0%} right behind a negation, {:4.0%} elsewhere".format(name, *shares))

# %% [markdown]
# Without its flags the tagger reads behind a negation as if there had been none, and all but a few of its other tags
# stay as they were. Without as many other units of the same layer it errs elsewhere, not there.
#
# ## Which units matter?
#
# `tc.measure_effects` takes away every unit in turn and says how many bits the right tag of an opinion word loses. A
# cell that is held at its mean loses what it knows; held at 0, it also loses the level at which it stands.
# `tc.load(model)` takes the module as it is, with its embedding and its linear layer.

# %%
whole = tc.load(model)
joined = [word for text in texts for word in text]
given = tc.open_text(whole, " ".join(joined), vocabulary=VOCABULARY)
right_tags = [kind if kind != NOTHING else np.nan for kind in tag(joined)]
effects = tc.measure_effects(whole, given, targets=right_tags, kinds=["mean", "zero"])
print(effects)

foremost = effects.most(1)[0].label
print(f"\n{foremost}  {reading.unit(foremost).sentence}")

# %% [markdown]
# A flag matters most, far before all others. *Held at 0* alone would have named another unit first, one that hardly
# ever moves: the network needs the level at which it stands, and it tells the network nothing. *Raises* and *lowers*
# are said of units that stand before the linear layer; those of the lower layer work through the upper one.
#
# ## The same from files
#
# You need not have the model's code. A state_dict and a list of the words are enough for the command line. tallycell
# finds the LSTM and the embedding inside the larger state_dict by the shapes and names of their weights. Two layers and
# both directions are one LSTM.

# %%
COMMANDS = (
    "tallycell inspect tagger.pt",
    "tallycell read tagger.pt --text sentences.txt --vocab vocab.txt --unit UNIT",
)

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    torch.save(model.state_dict(), folder / "tagger.pt")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "sentences.txt").write_text("\n".join(" ".join(text) for text in texts), encoding="utf-8")
    for command in COMMANDS:
        command = command.replace("UNIT", best.label)
        print(f"$ {command}")
        arguments = [sys.executable, "-m", *command.split()]
        print(subprocess.run(arguments, cwd=folder, capture_output=True, encoding="utf-8", check=True).stdout)

# %% [markdown]
# The command reads the texts as one long sequence, from the first word to the last; `tc.read_units` above had 80 short
# ones. The flag is the same. Without `--unit` the command prints the page that `print(reading)` gives.
#
# ## Is there always such a cell?
#
# No. The same tagger, with PyTorch's own start and an ordinary weight decay:

# %%
ordinary = train(forget_bias=0.0, recurrent_decay=0.01)
with torch.no_grad(), tc.capture(ordinary) as seen:
    guess = ordinary(ids, lengths).argmax(-1)
print(f"right tags: {(guess == tags)[opinions].float().mean():.1%}")

other = tc.read_units(seen["lstm"], tokens=ids, quantities={"negation": negated}, vocabulary=VOCABULARY)
print({role: count for role, count in other.roles().items() if count})
print("The two that follow the negation most closely:")
for unit in other.followers("negation")[:2]:
    print(f"{unit.label}  {unit.sentence}")

# %% [markdown]
# It tags as well, and two cells follow the negation here too. But they are no flags: they lose most of what they hold
# within a few words and are written anew from h. The memory is a loop through h, not a cell. So a role is a finding
# about how this network remembers, not about what the task needs. And it may differ from one training to the next:
# where it matters, look at several seeds.
#
# ## What to try next
#
# - `tc.read_units(..., model=model.lstm)` compares with networks of the same shape that learned nothing, and says which
#   roles are as common there. (From the command line that is always done.)
# - Your own suspicion as `quantities=`; `reading.followers("negation")` lists the units that go along with it.
# - `tallycell read tagger.pt ... --json` gives all to another program.
