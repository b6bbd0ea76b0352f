"""WAV files, brought to one channel and another rate."""

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, InputError
from tallycell.files import require_file
from tallycell.memory import require_memory
from tallycell.wording import one_line

RATES = (1_000, 768_000)  # samples a second: what is beyond is a damaged header
MIDDLE_OF_BYTES = 128  # 8-bit samples are unsigned
WAV_UNFOLDS = 20  # times its bytes, at most, that a sound takes: a sample of 8 bits becomes a float of 64


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of sound.

    Attributes
    ----------
    samples
        Full scale from -1 to 1.
    rate
        Samples a second.
    """

    samples: Float[np.ndarray, " sample"]
    rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    def at_rate(self, rate: int) -> "Sound":
        """Give the same sound in another number of samples a second, filtered so that nothing is mirrored.

        Raises
        ------
        InputError
            If the rate is none of sound.
        """
        if rate == self.rate:
            return self
        if not RATES[0] <= rate <= RATES[1]:
            raise InputError(f"{rate:,} samples a second are asked for; expected {RATES[0]:,} to {RATES[1]:,}")
        from scipy.signal import resample_poly

        common = math.gcd(rate, self.rate)
        return Sound(resample_poly(self.samples, rate // common, self.rate // common), rate)


def read_wav(path: Path) -> Sound:
    """Read a WAV file: PCM of 8, 16, 24 or 32 bits, or floats; several channels become their mean.

    Raises
    ------
    FormatError
        If it is not such a file, or damaged.
    InputError
        If there is no such file, or it holds no sound, or samples that are NaN or infinite.
    """
    size = require_file(path, InputError, "a WAV file").st_size
    require_memory(WAV_UNFOLDS * size, f"reading the sound {path}")
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy, about chunks that are no sound
            # From memory: on a file NumPy would make room for as many samples as the header promises.
            rate, samples = wavfile.read(io.BytesIO(path.read_bytes()))
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise FormatError(f"{path} is not a WAV file of PCM or floats, or is damaged: {one_line(error)}") from None
    if not RATES[0] <= rate <= RATES[1]:
        raise FormatError(f"{path} claims {rate:,} samples a second; expected {RATES[0]:,} to {RATES[1]:,}")
    if not samples.size:
        raise InputError(f"{path} holds no samples; give a sound")
    scaled = _scale(samples)
    if not np.isfinite(scaled).all():
        raise InputError(f"{path} holds samples that are NaN or infinite; repair it first")
    return Sound(scaled if scaled.ndim == 1 else scaled.mean(1), int(rate))


def _scale(samples: np.ndarray) -> Float[np.ndarray, "..."]:
    """Bring samples of any type to floats from -1 to 1; scipy gives 24 bits as the upper bits of 32."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    if samples.dtype.kind == "u":
        return (samples.astype(np.float64) - MIDDLE_OF_BYTES) / MIDDLE_OF_BYTES
    return samples / -float(np.iinfo(samples.dtype).min)
