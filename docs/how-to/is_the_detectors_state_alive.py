# %% [markdown]
# # Is the detector's state alive?
#
# A voice detector remembers. Its model is called with 32 ms of sound and a *state*, and gives back a new state for the
# next call. Two mistakes are easy to make in the program around it, and neither raises an error:
#
# - **The state is reset at each call.** The model is given zeros again and again.
# - **The context is forgotten.** silero-vad wants the last 64 samples of the chunk before in front of each 512 new
#   ones.
#
# The quick answer: put a `tc.StateWatch` beside the call, and it warns of the first mistake. For the second, compare
# how long the cells remember with how long they should. This page makes both mistakes with
# [silero-vad](https://github.com/snakers4/silero-vad) as published, on 15 seconds of speech.

# %%
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tallycell as tc
from tallycell.opening import read_wav
from tallycell.plot import plot_effects, save_picture

models = Path(os.environ.get("TALLYCELL_MODELS", Path.home() / ".cache" / "tallycell" / "models"))
path = models / "silero-vad-6.2.3" / "silero_vad" / "data" / "silero_vad.onnx"
wav = Path(__file__).parents[2] / "tests" / "data" / "demo-abouttotry.wav"
if not path.is_file():
    raise SystemExit(
        f"skipped: there is no {path}; unpack the package silero-vad 6.2.3 as silero-vad-6.2.3 in {models} "
        "(or set TALLYCELL_MODELS)"
    )
if missing := [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]:
    raise SystemExit(f"skipped: {' and '.join(missing)} not installed; pip install 'tallycell[onnx]'")

import onnxruntime

# %% [markdown]
# ## How long a healthy detector remembers
#
# `tc.open_audio` feeds a sound to the model as its makers do: 512 new samples (32 ms) a call behind 64 old ones, the
# state carried on. Then the LSTM inside is recorded and read. A step is one call, so times come out in seconds.
#
# What the model makes of a sound before its LSTM has no names. So x is left out of the trace, and events are told by
# what was measured of the sound itself: loudness, zero-crossing rate, spectral centroid, and the model's own output.

# %%
model = tc.load(path)
given = tc.open_audio(model, wav)
trace = tc.record_trace(model, given).drop_vars("x")
healthy = tc.read_units(trace, given)
print(given)
print(healthy)

# %% [markdown]
# Half of the units forget within a few calls. A quarter remember most of a second or longer, and a few much longer: a
# detector needs both, the sound of this instant and whether somebody has been speaking. *Forgets within 1.6 s* means
# that after so long less than 37 % is left of what the cell held. It is this memory that a mistake in the caller
# destroys.
#
# ## Three callers
#
# The same loop three times: right, with a reset, without the context. `StateWatch.observe` sees the state that each
# call was given and the one that it returned. (The state of silero-vad is h and c, one behind the other.)

# %%
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
samples = read_wav(wav).at_rate(16_000).samples.astype(np.float32)
CHUNK, CONTEXT = 512, 64


def listen(*, reset=False, context=True):
    """Give the probability of speech and the cells after each call, and what the watch said."""
    watch, probabilities, cells = tc.StateWatch(), [], []
    state, before = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", tc.StateWarning)
        for begin in range(0, len(samples) - CHUNK + 1, CHUNK):
            chunk = samples[begin : begin + CHUNK]
            x = np.concatenate([before, chunk]) if context else chunk
            output, new = session.run(None, {"input": x[None], "state": state, "sr": np.array(16_000)})
            watch.observe(given=tuple(state), returned=tuple(new))
            state = np.zeros_like(new) if reset else new
            before = chunk[-CONTEXT:]
            probabilities.append(output.item())
            cells.append(new[1, 0])
    return np.array(probabilities), np.array(cells), [str(one.message) for one in warned]


callers = {
    "right": listen(),
    "reset at each call": listen(reset=True),
    "without the context": listen(context=False),
}
for name, (_, _, said) in callers.items():
    print(f"{name}: {said[0] if said else 'StateWatch says nothing'}")

# %% [markdown]
# StateWatch finds the reset after 20 calls, two thirds of a second, and says so once. It needs no labels and no second
# run: one and the same state was given in while another came out. In your program,
# `warnings.simplefilter("error", tc.StateWarning)` makes an error of it.
#
# Of the lost context it says nothing, and rightly: there the state lives, it is the sound that is cut wrongly.
#
# ## What the mistakes do to the output

# %%
right = callers["right"][0] > 0.5
print(f"{'':<20}  speech  changes  decides as the right one  size of a cell")
for name, (probability, cells, _) in callers.items():
    speech = probability > 0.5
    changes, same = int((speech[1:] != speech[:-1]).sum()), (speech == right).mean()
    print(f"{name:<20}  {speech.mean():6.0%}  {changes:7}  {same:24.0%}  {np.abs(cells).mean():14.2f}")

# %% [markdown]
# With the reset the detector flickers: it still hears speech in half of the calls, and that is why nobody notices. Each
# decision is about 32 ms alone. Without the context it is all but deaf, and its cells grow to many times their size.
#
# ## What they do to the memory
#
# The reset, seen from the cells: every call is a sequence of its own, one step long, that begins with zeros. The lost
# context: `open_audio` with `context=0`.


# %%
lstm = model.lstm if given.lstm is None else model[given.lstm]
alone = np.swapaxes(given.x, 0, 1)  # (time, sequence, feature): one step, as many sequences as there were calls
after_reset = tc.read_units(tc.record_trace(lstm, alone).drop_vars("x"))

cut_wrongly = tc.open_audio(model, wav, chunk=CHUNK, context=0)
without_context = tc.read_units(tc.record_trace(model, cut_wrongly).drop_vars("x"), cut_wrongly)

for name, reading in {"right": healthy, "reset": after_reset, "without context": without_context}.items():
    roles = ", ".join(f"{count} {role}" for role, count in reading.roles().items() if count)
    print(f"{name}: {roles}")
    if reading is not after_reset:
        _, remembers = str(reading).split("How long it remembers\n")
        print(remembers.splitlines()[0])

# %% [markdown]
# With the reset every unit is *memoryless*: what a cell kept from the step before is nothing, because nothing was
# there. That line alone tells a dead state from a live one, from a trace, without the program that made it.
#
# Without the context it is the reverse. A quarter of the units forget nothing within the whole recording, and most
# move so rarely that they are *unknown*: the detector is stuck with what it holds. So look at both ends. A memory of
# one call is a state that is reset; a memory as long as the recording is a model that is not fed what it was trained
# on.

# %% [markdown]
# ## Which units carry the probability
#
# Behind the LSTM of silero-vad, relu shows what of h is above 0, and a linear layer makes of it the probability of
# speech. `tc.load` finds that layer. So each unit can be held, its cell at 0, and be asked for by what the probability
# then loses. All 128 holds are one batch.

# %%
effects = tc.measure_effects(model, given, kinds=["zero"])
print(effects)
save_picture(plot_effects(effects), Path(__file__).parent.parent / "pictures" / "detector_units.png")

# %% [markdown]
# ![What the probability loses without each of the units that carry it, with intervals](../pictures/detector_units.png)
#
# The probability is carried by many units, a little by each. (A divergence is never below 0, so that each has one; look
# at their sizes.) The first is the odd one: h of 0.120 is never above 0, so that relu never shows it. It matters
# by what it does to the others. The weights of the last layer alone would have missed it.
#
# The same hold in the file itself: what feeds the LSTM runs in ONNX Runtime, the LSTM with the hold in tallycell, and
# what follows in ONNX Runtime again. The states are carried from call to call, so that a step of the hold is a call.

# %%

padded = np.pad(samples, (CONTEXT, 0))
calls = [
    {"input": padded[None, k : k + CONTEXT + CHUNK], "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16_000)}
    for k in range(0, len(samples) - CHUNK + 1, CHUNK)
]
shown = np.maximum(trace["h"].isel(layer=0, direction=0, sequence=0), 0).mean("time").values
for unit in (120, 85, 36):
    held = tc.run_with_holds(path, calls, tc.Hold("c", 0.0, units=[unit]), carry={"state": "stateN"})
    changes = np.abs(callers["right"][0] - held.outputs["output"].ravel())
    print(
        f"without 0.{unit}: the probability changes by {changes.mean():.3f} on average, by {changes.max():.2f} at "
        f"most; relu shows {shown[unit]:.3f} of it"
    )

# %% [markdown]
# ## What to try next
#
# - Give StateWatch to your own loop. With h and c in two arrays: `watch.observe((h, c), (h_new, c_new))`. An LSTM that
#   tallycell steps itself takes it as `tc.step(..., watch=watch)`.
# - Read your own detector: `tallycell read detector.onnx --audio speech.wav`, with `--chunk` and `--context` as your
#   program cuts the sound. Do so with speech and pauses, 10 seconds or more: fewer than 200 calls are not read.
# - Keep the two numbers, how long half of the units and a quarter remember, as a check in your release tests.
