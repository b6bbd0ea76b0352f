"""Sound for a model: through its own front end where the file has one, else sample by sample."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.loaders import LoadedModel
from tallycell.loaders.formats import recognise
from tallycell.opening.choosing import as_loaded, choose_lstm, in_order_of, path_to_tell, state_of
from tallycell.opening.front_end import Cutting, FrontEnd, own_output, plan_front_end
from tallycell.opening.sound import Sound, read_wav
from tallycell.opening.sound_quantities import audio_quantities
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed

OWN_OUTPUT = "model output"
A_SOUND = "the sound"


def open_audio(
    model: LoadedModel | LSTMParameters | Recogniser,
    sound: Sound | str | PathLike[str],
    *,
    lstm: str | None = None,
    rate: int | None = None,
    chunk: int | None = None,
    context: int | None = None,
    state: Any = None,
) -> Input:
    """Give what an LSTM reads when its model hears a sound.

    An ONNX model takes the sound itself, by the rules of :mod:`~tallycell.opening.front_end`, and its LSTM is read on
    what it was given inside. Of any other model only the LSTM is known: it reads the samples themselves, if it has one
    input.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave.
    sound
        A WAV file, or a :class:`~tallycell.opening.Sound`.
    lstm
        Path of the LSTM, where the model has several.
    rate
        Samples a second that the model was made for; if None, 16,000 for ONNX and the sound's own for others.
    chunk, context
        New samples in each call of an ONNX model, and samples of the chunk before that each call begins with; if None,
        as :mod:`~tallycell.opening.front_end` says.
    state
        (h_0, c_0) of an LSTM that reads samples, or an npz file of both; an ONNX model has its own.

    Returns
    -------
    Input
        With loudness, zero-crossing rate, spectral centroid and, where the model gives one number a call, its output.

    Raises
    ------
    InputError, FormatError
        If the sound cannot be read, or the model takes none.

    Examples
    --------
    >>> meter = LSTMParameters({"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))})
    >>> tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    >>> open_audio(meter, Sound(tone, 8000))
    Input('the sound': 1.0 s of sound at 8,000 Hz, one step a sample)
    """
    loaded, cutting = as_loaded(model), Cutting(rate, chunk, context)
    heard, name = (sound, A_SOUND) if isinstance(sound, Sound) else (read_wav(Path(sound)), Path(sound).name)
    if loaded.source.is_file() and recognise(loaded.source) == "ONNX":
        if state is not None:
            raise InputError(f"{loaded.source.name} is an ONNX model, which has its own states; leave out the state")
        return _through_the_model(loaded, heard, name, lstm, cutting)
    return _sample_by_sample(loaded, heard, name, choose_lstm(loaded, lstm), cutting, state)


def _sample_by_sample(
    model: LoadedModel, sound: Sound, name: str, path: str, cutting: Cutting, state: Any
) -> Input:  # fmt: skip
    lstm = model[path]
    if lstm.input_size != 1:
        raise InputError(
            f"the LSTM of {model.source.name} reads {lstm.input_size} features a step, not samples, and what makes "
            "them of a sound is not in the file; give its input as an array (--array)"
        )
    if cutting.chunk is not None or cutting.context is not None:
        raise InputError(
            f"{model.source.name} reads one sample a step; chunk and context (--chunk, --context) are for ONNX models"
        )
    heard = sound.at_rate(cutting.rate or sound.rate)
    given = Input(
        heard.samples[:, None],
        name,
        f"{heard.seconds:.1f} s of sound at {heard.rate:,} Hz, one step a sample",
        quantities=audio_quantities(heard.samples, heard.rate, hop=1, steps=len(heard.samples)),
        state=state_of(state),
        step_seconds=1 / heard.rate,
        legible=False,
    )
    return in_order_of(model, path, given)


def _through_the_model(model: LoadedModel, sound: Sound, name: str, lstm: str | None, cutting: Cutting) -> Input:
    from tallycell.loaders.onnx.tap import tap

    if lstm is not None:
        choose_lstm(model, lstm)
    front_end = plan_front_end(model.source, cutting)
    heard = sound.at_rate(front_end.rate)
    tapped = tap(model.source, front_end.feeds(heard.samples), lstm=lstm, carry=front_end.carry)
    if len(tapped) != 1:
        raise InputError(
            f"of {model.source.name}, {len(tapped)} LSTMs ran on the sound, at {listed(tapped)}; choose one with lstm "
            "(--lstm PATH)"
        )
    path, one = next(iter(tapped.items()))
    reverse, (time, sequences) = model.places[path].reverse, one.x.shape[:2]
    quantities, seconds = _measure(model.source, front_end, heard, steps=time * sequences)
    by_sequence = {name: values.reshape(sequences, time) for name, values in quantities.items()}
    return Input(
        one.x,  # as tap gives it: turned round where the LSTM reads from the last step
        name,
        f"{heard.seconds:.1f} s of sound at {heard.rate:,} Hz, {one.x[..., 0].size:,} steps of {seconds:.3g} s",
        quantities={name: values[:, ::-1] for name, values in by_sequence.items()} if reverse else by_sequence,
        lengths=one.lengths,
        state=one.state,
        lstm=path_to_tell(model, path),
        reverse=reverse,
        step_seconds=seconds,
        legible=False,
    )


def _measure(model: Path, front_end: FrontEnd, heard: Sound, *, steps: int) -> tuple[dict[str, np.ndarray], float]:
    """Measure the known quantities of a sound at each step of the LSTM, and the seconds that a step takes."""
    calls = front_end.steps(len(heard.samples))
    hop = (front_end.chunk or len(heard.samples)) * calls / steps
    quantities = audio_quantities(heard.samples, heard.rate, hop=hop, steps=steps)
    output = own_output(model, front_end, heard.samples)
    if output is not None and calls > 1 and steps % calls == 0:
        quantities[OWN_OUTPUT] = np.repeat(output, steps // calls)
    return quantities, hop / heard.rate
