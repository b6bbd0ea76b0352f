"""Live input, step by step: a state that is kept, one time step a call, and a check that it is kept.

``state`` is what lives from step to step, ``stream`` takes the steps, ``watch`` warns of a state that does not live.
NumPy arrays in and out, or CPU tensors of torch, which share their memory with them; without gradients.
"""

from tallycell.streaming.state import LSTMState
from tallycell.streaming.stream import Stream, step, steps
from tallycell.streaming.watch import StateWarning, StateWatch

__all__ = ["LSTMState", "StateWarning", "StateWatch", "Stream", "step", "steps"]
