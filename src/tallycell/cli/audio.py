"""Sound for a model: through its own front end where the file has one, else sample by sample."""

from pathlib import Path

import numpy as np

from tallycell.cli.front_end import FrontEnd, own_output, plan_front_end
from tallycell.cli.inputs import Subject, choose_lstm
from tallycell.cli.options import Feeding
from tallycell.cli.sound import Sound, read_wav
from tallycell.errors import InputError
from tallycell.loaders import LoadedModel
from tallycell.loaders.formats import recognise
from tallycell.reading.audio import audio_quantities
from tallycell.wording import listed

OWN_OUTPUT = "model output"


def open_audio(loaded: LoadedModel, audio: Path, model_name: str, feeding: Feeding) -> Subject:
    """Put a model and a sound together.

    An ONNX model takes the sound itself, by the rules of :mod:`~tallycell.cli.front_end`, and its LSTM is read on what
    it was given inside. Of any other file only the LSTM is known: it reads the samples themselves, if it has one input.

    Raises
    ------
    InputError, FormatError
        If the sound cannot be read, or the model takes none.
    """
    sound = read_wav(audio)
    if recognise(loaded.source) == "ONNX":
        return _through_the_model(loaded, sound, audio.name, model_name, feeding)
    return _sample_by_sample(loaded, sound, audio.name, model_name, feeding)


def _sample_by_sample(
    loaded: LoadedModel, sound: Sound, audio_name: str, model_name: str, feeding: Feeding
) -> Subject:  # fmt: skip
    path = choose_lstm(loaded, feeding.lstm)
    lstm = loaded[path]
    if lstm.input_size != 1:
        raise InputError(
            f"the LSTM of {model_name} reads {lstm.input_size} features a step, not samples, and what makes them of a "
            "sound is not in the file; give its input with --array"
        )
    if feeding.chunk is not None or feeding.context is not None:
        raise InputError(f"{model_name} reads one sample a step; --chunk and --context are for ONNX models")
    heard = sound.at_rate(feeding.rate or sound.rate)
    steps = len(heard.samples)
    return Subject(
        loaded[path], heard.samples[:, None], model_name, audio_name,
        quantities=audio_quantities(heard.samples, heard.rate, hop=1, steps=steps),
        heard=f"{heard.seconds:.1f} s of sound at {heard.rate:,} Hz, one step a sample",
        step_seconds=1 / heard.rate,
    ).placed(loaded, path)  # fmt: skip


def _through_the_model(
    loaded: LoadedModel, sound: Sound, audio_name: str, model_name: str, feeding: Feeding
) -> Subject:  # fmt: skip
    from tallycell.loaders.onnx.tap import tap

    if feeding.lstm is not None:
        choose_lstm(loaded, feeding.lstm)
    front_end = plan_front_end(loaded.source, feeding)
    heard = sound.at_rate(front_end.rate)
    tapped = tap(loaded.source, front_end.feeds(heard.samples), lstm=feeding.lstm, carry=front_end.carry)
    if len(tapped) != 1:
        paths = listed(tapped)
        raise InputError(
            f"of {model_name}, {len(tapped)} LSTMs ran on the sound, at {paths}; choose one with --lstm PATH"
        )
    path, one = next(iter(tapped.items()))
    reverse, (time, sequences) = loaded.places[path].reverse, one.x.shape[:2]
    quantities, seconds = _measure(loaded.source, front_end, heard, steps=time * sequences)
    by_sequence = {name: values.reshape(sequences, time) for name, values in quantities.items()}
    return Subject(
        loaded[path], one.x, model_name, audio_name,
        quantities={name: values[:, ::-1] for name, values in by_sequence.items()} if reverse else by_sequence,
        heard=f"{heard.seconds:.1f} s of sound at {heard.rate:,} Hz, {one.x[..., 0].size:,} steps of {seconds:.3g} s",
        step_seconds=seconds,
        path=path if len(loaded) + len(loaded.refused) > 1 else None,
        reverse=reverse,  # as tap gives x
        state=one.state,
        lengths=one.lengths,
    )  # fmt: skip


def _measure(model: Path, front_end: FrontEnd, heard: Sound, *, steps: int) -> tuple[dict[str, np.ndarray], float]:
    """Measure the known quantities of a sound at each step of the LSTM, and the seconds that a step takes."""
    calls = front_end.steps(len(heard.samples))
    hop = (front_end.chunk or len(heard.samples)) * calls / steps
    quantities = audio_quantities(heard.samples, heard.rate, hop=hop, steps=steps)
    output = own_output(model, front_end, heard.samples)
    if output is not None and calls > 1 and steps % calls == 0:
        quantities[OWN_OUTPUT] = np.repeat(output, steps // calls)
    return quantities, hop / heard.rate
