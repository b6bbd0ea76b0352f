"""The LSTM as a torch module: a stand-in for ``torch.nn.LSTM`` that shows its gates.

``operations`` holds the equations as torch operations, ``activations`` the squashing functions for torch, ``module``
the class.
"""

from tallycell.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as missing:
    raise MissingExtraError("torch", "torch") from missing

from tallycell.lstm.module import LSTM, Gates

__all__ = ["LSTM", "Gates"]
