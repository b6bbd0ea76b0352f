"""tallycell: read an LSTM by its purpose, as differentiable memory that counts.

The names below are loaded when they are first used, so that ``import tallycell`` costs little and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallycell.activations import activation, register_activation
    from tallycell.effect.account import Account, explain_output
    from tallycell.effect.counterfactual import counterfactual_steps, counterfactual_units
    from tallycell.effect.effects import Effects
    from tallycell.effect.measuring import measure_effects
    from tallycell.effect.outputs import outputs
    from tallycell.effect.purposes import with_purposes
    from tallycell.effect.stretches import Sampling
    from tallycell.errors import FormatError, InputError, ParameterError, TallycellError, TraceError
    from tallycell.input import Input
    from tallycell.layout import Layout
    from tallycell.loaders import Tapped, load, save, tap, to_keras_weights, to_onnx
    from tallycell.loaders.onnx.held import HeldRun, run_with_holds
    from tallycell.lstm import LSTM
    from tallycell.machine import CounterMachine, format_machine, parse
    from tallycell.machine.checking.check import check_machine
    from tallycell.machine.comparing.equivalence import compare_machines
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.extracting.extraction import extract_machine
    from tallycell.machine.hardening import harden
    from tallycell.machine.proving.horizon import counting_horizon
    from tallycell.opening import open_audio, open_table, open_text
    from tallycell.parameters import Activations, LSTMParameters
    from tallycell.reading import read_events, read_saturation, read_units
    from tallycell.recogniser import Recogniser
    from tallycell.streaming import LSTMState, StateWarning, StateWatch, Stream, step, steps
    from tallycell.trace import Hold, Record, open_trace, record_trace, save_trace, trace_of
    from tallycell.trace.capture import capture

__version__ = "0.2.0"

__all__ = [
    "LSTM",
    "Account",
    "Activations",
    "CounterMachine",
    "Effects",
    "FormatError",
    "HeldRun",
    "Hold",
    "Input",
    "InputError",
    "LSTMParameters",
    "LSTMState",
    "Layout",
    "ParameterError",
    "Recogniser",
    "Record",
    "Sampling",
    "StateWarning",
    "StateWatch",
    "Stream",
    "TallycellError",
    "Tapped",
    "TraceError",
    "activation",
    "capture",
    "check_machine",
    "compare_machines",
    "compile_machine",
    "counterfactual_steps",
    "counterfactual_units",
    "counting_horizon",
    "explain_output",
    "extract_machine",
    "format_machine",
    "harden",
    "load",
    "measure_effects",
    "open_audio",
    "open_table",
    "open_text",
    "open_trace",
    "outputs",
    "parse",
    "read_events",
    "read_saturation",
    "read_units",
    "record_trace",
    "register_activation",
    "run_with_holds",
    "save",
    "save_trace",
    "step",
    "steps",
    "tap",
    "to_keras_weights",
    "to_onnx",
    "trace_of",
    "with_purposes",
]

_HOME = {
    "Sampling": "effect.stretches",
    "Effects": "effect.effects",
    "outputs": "effect.outputs",
    "with_purposes": "effect.purposes",
    "measure_effects": "effect.measuring",
    "counterfactual_units": "effect.counterfactual",
    "counterfactual_steps": "effect.counterfactual",
    "explain_output": "effect.account",
    "Account": "effect.account",
    "TraceError": "errors",
    "TallycellError": "errors",
    "ParameterError": "errors",
    "InputError": "errors",
    "FormatError": "errors",
    "activation": "activations",
    "register_activation": "activations",
    "Input": "input",
    "Layout": "layout",
    "load": "loaders",
    "save": "loaders",
    "Tapped": "loaders",
    "tap": "loaders",
    "to_onnx": "loaders",
    "to_keras_weights": "loaders",
    "HeldRun": "loaders.onnx.held",
    "run_with_holds": "loaders.onnx.held",
    "LSTM": "lstm",
    "CounterMachine": "machine",
    "format_machine": "machine",
    "parse": "machine",
    "compile_machine": "machine.compiling.compilation",
    "compare_machines": "machine.comparing.equivalence",
    "check_machine": "machine.checking.check",
    "harden": "machine.hardening",
    "extract_machine": "machine.extracting.extraction",
    "counting_horizon": "machine.proving.horizon",
    "open_audio": "opening",
    "open_table": "opening",
    "open_text": "opening",
    "Activations": "parameters",
    "LSTMParameters": "parameters",
    "read_events": "reading",
    "read_saturation": "reading",
    "read_units": "reading",
    "Recogniser": "recogniser",
    "LSTMState": "streaming",
    "StateWarning": "streaming",
    "StateWatch": "streaming",
    "Stream": "streaming",
    "step": "streaming",
    "steps": "streaming",
    "Hold": "trace",
    "Record": "trace",
    "capture": "trace.capture",
    "open_trace": "trace",
    "record_trace": "trace",
    "save_trace": "trace",
    "trace_of": "trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tallycell' has no attribute {name!r}")
    value = getattr(import_module(f"tallycell.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
