"""The LSTM as a torch module: a stand-in for ``torch.nn.LSTM`` that shows its gates.

``module`` holds the class, ``options`` what it has besides weights, ``stack`` one call of it, ``held`` what is held
in a call, ``sequences`` how inputs lie, ``runner`` and ``layers`` the choice between two paths: ``vector_ops``, the
CPU kernel with its gradients, and ``operations``, the equations as torch operations, with the squashing functions of
``activations``.
"""

from tallycell.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as missing:
    raise MissingExtraError("torch", "torch") from missing

from tallycell.lstm.gates import Gates
from tallycell.lstm.module import LSTM

__all__ = ["LSTM", "Gates"]
