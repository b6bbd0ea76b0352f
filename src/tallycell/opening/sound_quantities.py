"""Quantities of a sound that a cell may follow: what a person would listen for first."""

import math

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

NAMES = ("loudness", "zero-crossing rate", "spectral centroid")
WINDOW = 0.032  # seconds that are heard as one moment
AT_MOST = 125  # moments measured a second; where a model takes more steps, they share them
SILENCE = -100.0  # dB of full scale: nothing is quieter, and a digital zero is this
AT_ONCE = 4096  # moments measured together, so that an hour of sound needs no more memory than a minute


def audio_quantities(
    samples: Float[np.ndarray, " sample"], rate: int, *, hop: float, steps: int
) -> dict[str, Float[np.ndarray, " time"]]:
    """Measure a sound at the end of each step of a model that takes ``hop`` new samples a step.

    Each moment is the last 32 ms of the sound, or the samples of the step where those are more.

    Parameters
    ----------
    samples
        The sound, full scale from -1 to 1.
    rate
        Samples a second.
    hop
        Samples a step, which need not be a whole number.
    steps
        Number of steps; what the last of them has beyond the sound is silence.

    Returns
    -------
    dict
        By name, (time,): ``loudness`` (root mean square, dB of full scale, at least -100), ``zero-crossing rate``
        (changes of sign a second), ``spectral centroid`` (mean frequency in Hz, weighted by magnitude; 0 in silence).

    Examples
    --------
    A second of silence, then a tone of 1000 Hz at half of full scale:

    >>> tone = np.where(np.arange(16000) < 8000, 0, 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 8000))
    >>> heard = audio_quantities(tone, 8000, hop=256, steps=62)
    >>> heard["loudness"][[10, -1]].round(2)
    array([-100.  ,   -9.03])
    >>> heard["spectral centroid"][[10, -1]].round()
    array([   0., 1000.])
    """
    window = max(round(hop), round(WINDOW * rate))
    together = max(1, math.ceil(rate / (AT_MOST * hop)))  # steps that share a moment
    ends = np.round(np.arange(1, -(-steps // together) + 1) * together * hop).astype(np.int64)
    whole = np.zeros(window + int(ends[-1]))
    heard = samples[: ends[-1]]
    whole[window : window + len(heard)] = heard
    moments = sliding_window_view(whole, window)
    blocks = [_measure(moments[ends[k : k + AT_ONCE]], rate) for k in range(0, len(ends), AT_ONCE)]
    last = np.maximum(np.arange(1, steps + 1) // together - 1, 0)  # the last moment that ended by then
    return {name: np.concatenate(values)[last] for name, values in zip(NAMES, zip(*blocks, strict=True), strict=True)}


def _measure(moments: Float[np.ndarray, "moment sample"], rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loudness, zero crossings and spectral centroid of each moment."""
    size = moments.shape[1]
    power = np.mean(moments**2, axis=1)
    loudness = 10 * np.log10(np.maximum(power, 10 ** (SILENCE / 10)))
    crossings = np.mean(np.diff(np.signbit(moments), axis=1), axis=1) * rate if size > 1 else np.zeros(len(moments))
    spectrum = np.abs(np.fft.rfft(moments * np.hanning(size + 2)[1:-1]))
    total = spectrum.sum(1)
    centroid = spectrum @ np.fft.rfftfreq(size, 1 / rate) / np.where(total > 0, total, 1)
    return loudness, crossings, centroid
