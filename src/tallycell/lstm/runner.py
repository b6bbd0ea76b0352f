"""A run of an LSTM's layers: which path they take, in which dtype, and what is kept from run to run."""

import operator
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tallycell.kernels.choice import tell_once
from tallycell.kernels.cpu.readiness import is_ready, note_time, prepare
from tallycell.lstm.activations import torch_function
from tallycell.lstm.layers import (
    LayerSteps,
    run_as_operations,
    run_on_kernel,
    unsupported,
    watched,
    weights_of,
)
from tallycell.lstm.operations import Held, LayerTensors
from tallycell.lstm.options import Options, attributes_of, may_run_on_kernel, options_of
from tallycell.lstm.sequences import Order, Sequences
from tallycell.lstm.vector_ops import PackedOnce, Plan, PlanText, form_of, make_plan
from tallycell.parameters import Activations

COMPUTED_IN = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

Plans = tuple[Plan, ...]  # one a direction


@dataclass(eq=False)
class _Memory:
    """What is known of an LSTM from its earlier runs."""

    attributes: tuple[object, ...]  # those that the plans were made from
    # By whether gradients are wanted, and whether the input is packed.
    plans: dict[tuple[bool, bool], Plans | None] = field(default_factory=dict)
    packed: dict[tuple[int, int], PackedOnce] = field(default_factory=dict)  # by layer and direction


# Beside the modules and not in them: what is copied, pickled or moved is the module alone.
_memories: WeakKeyDictionary[nn.LSTM, _Memory] = WeakKeyDictionary()


def _memory_of(lstm: nn.LSTM) -> _Memory:
    attributes = attributes_of(lstm)
    memory = _memories.get(lstm)
    if memory is None or not all(map(operator.is_, attributes, memory.attributes)):
        memory = _memories[lstm] = _Memory(attributes)
    return memory


def _plans_of(lstm: nn.LSTM, memory: _Memory, gradients: bool, packed: bool) -> Plans | None:
    """Plans of both directions, or None, with a line in the log, where the kernel cannot run the LSTM."""
    plans, key = memory.plans, (gradients, packed)
    if key not in plans:
        options = options_of(lstm)
        reason = unsupported(options)
        if reason is None:
            slots = (Activations(*choices) for choices in options.slots)  # type: ignore[arg-type]
            # Packed sequences are turned before and after, each within its length.
            directions = (make_plan(s, reverse=k == 1 and not packed, gradients=gradients) for k, s in enumerate(slots))
            plans[key] = tuple(directions)
        else:
            tell_once(reason)
            plans[key] = None
    return plans[key]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _plan_texts(lstm: nn.LSTM, gradients: bool, packed: bool) -> tuple[str, ...] | None:
    plans = _plans_of(lstm, _memory_of(lstm), gradients, packed)
    for plan in plans or ():
        for dtype in ("float32", "float64"):  # a program that is compiled is run often
            prepare(plan.activations, dtype)
    return None if plans is None else tuple(plan.text for plan in plans)


def _choose_path(
    lstm: nn.LSTM, sequences: Sequences
) -> tuple[tuple[Plan | PlanText, ...] | None, dict[tuple[int, int], PackedOnce]]:
    """Plans for the kernel, their texts where torch compiles, None for torch operations; and the packed weights."""
    x, packed = sequences.data, sequences.source is not None
    if not may_run_on_kernel(lstm) or watched():
        return None, {}
    compiling = torch.compiler.is_compiling()
    if x.device.type != "cpu":
        if not compiling:
            tell_once(f"a tensor on {x.device.type}")
        return None, {}
    gradients = torch.is_grad_enabled()
    if compiling or type(x) not in (Tensor, torch.nn.Parameter):
        texts = _plan_texts(lstm, gradients, packed)
        return texts and tuple(PlanText(text, k == 1 and not packed) for k, text in enumerate(texts)), {}
    memory = _memory_of(lstm)
    return _plans_of(lstm, memory, gradients, packed), memory.packed


class Runner:
    """The layers of an LSTM on one input.

    Parameters
    ----------
    lstm
        The module.
    sequences
        Its input.
    """

    def __init__(self, lstm: nn.LSTM, sequences: Sequences) -> None:
        self._lstm = lstm
        self._sequences = sequences
        self._plans, self._packed = _choose_path(lstm, sequences)
        self._orders: dict[bool, Order | None] = {}

    @property
    def computes_in(self) -> torch.dtype:
        """Give the dtype that is computed in: half precisions are float32 where the kernel could run."""
        given = self._sequences.data.dtype
        return given if self._plans is None or given == torch.float64 else torch.float32

    def run(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, layer: int, *, direction: int, keep: Iterable[str],
        held: Held | None = None,
    ) -> LayerSteps:  # fmt: skip
        """Run one layer in one direction; ``keep`` names what to give besides h, ``held`` is what is held there."""
        weights, plan, packed = weights_of(self._lstm, layer, direction), None, None
        if held:
            with torch.autocast(x.device.type, enabled=False):  # what is held is held to the last digit
                return self._run_operations(x, state, weights, direction, keep=keep, held=held)
        if self._plans is not None:
            plan = self._plans[direction]
        if isinstance(plan, Plan):
            if not is_ready(form_of(x.dtype), plan.slots):
                start = time.perf_counter()
                steps = self._run_operations(x, state, weights, direction, keep=keep)
                note_time(form_of(x.dtype), plan.slots, time.perf_counter() - start)
                return steps
            packed = self._packed.setdefault((layer, direction), PackedOnce())
        if plan is None:
            return self._run_operations(x, state, weights, direction, keep=keep)
        return run_on_kernel(x, weights, state, plan=plan, packed=packed, order=self._order(direction), keep=keep)

    def _order(self, direction: int) -> Order | None:
        reverse = direction == 1
        if reverse not in self._orders:
            self._orders[reverse] = self._sequences.order(reverse=reverse)
        return self._orders[reverse]

    def _run_operations(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, weights: dict[str, Tensor], direction: int,
        *, keep: Iterable[str], held: Held | None = None,
    ) -> LayerSteps:  # fmt: skip
        layer = _on_graph(options_of(self._lstm), weights, direction, x.dtype)
        state = None if state is None else (state[0].to(x.dtype), state[1].to(x.dtype))
        sizes = self._sequences.batch_sizes
        return run_as_operations(x, layer, state, batch_sizes=sizes, reverse=direction == 1, keep=keep, held=held)


def _on_graph(options: Options, weights: dict[str, Tensor], direction: int, dtype: torch.dtype) -> LayerTensors:
    # The dtype is another than the weights' under autocast only.
    cast: dict[str, Any] = {kind: weight.to(dtype) for kind, weight in weights.items()}
    gate, cell, hidden = map(torch_function, options.slots[direction])
    return LayerTensors(
        cast["weight_ih"], cast["weight_hh"], cast["bias_ih"] + cast["bias_hh"] if "bias_ih" in cast else None,
        cast.get("weight_hr"), cast.get("weight_ch"), gate, cell, hidden,
        options.forget_gate, options.clip_pre, options.clip_cell,
    )  # fmt: skip
