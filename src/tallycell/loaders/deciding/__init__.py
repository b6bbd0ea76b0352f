"""From a model to a recogniser: what stands around its LSTM, and how it decides.

``decisions`` says what its outputs mean, ``parts`` puts a recogniser together, ``loaded`` takes the parts from a file,
``live`` from a module of torch, by running it. The methods of :class:`~tallycell.Recogniser` call the two functions
here.
"""

from logging import getLogger
from typing import TYPE_CHECKING, Any

from tallycell.loaders.deciding.live import recogniser_from_torch
from tallycell.loaders.deciding.loaded import recogniser_from_loaded
from tallycell.loaders.deciding.parts import Said
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.recogniser import Recogniser

if TYPE_CHECKING:
    from torch import nn

__all__ = ["made_of_loaded", "made_of_torch"]
LOG = getLogger("tallycell")


def made_of_torch(module: "nn.Module", *said: Any) -> Recogniser:
    """Make :meth:`tallycell.Recogniser.from_torch`; the log says what was folded into it."""
    return _logged(*recogniser_from_torch(module, Said.of(*said)))


def made_of_loaded(model: LoadedModel, *said: Any, lstm: str | None) -> Recogniser:
    """Make :meth:`tallycell.Recogniser.from_loaded`; the log says what was folded into it."""
    return _logged(*recogniser_from_loaded(model, Said.of(*said), lstm))


def _logged(made: Recogniser, notes: tuple[str, ...]) -> Recogniser:
    for note in notes:
        LOG.info(note)
    return made
