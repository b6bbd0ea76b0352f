"""A recogniser from a module of torch: the parts are found by running it, and must give what it gives."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.loaders.deciding.parts import Parts, Said, put_together, run_codes
from tallycell.loaders.torch.objects import lstm_modules, module_parameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

SEQUENCES, STEPS = 7, 11  # of what it is run on: two sizes that nothing confuses
CLOSE = 1e-5  # parts give what the module gives to within so much, of what is largest
_PASSES = ("Dropout", "Identity", "AlphaDropout", "FeatureAlphaDropout")
_KEEPS_ORDER = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid")


def recogniser_from_torch(module: "nn.Module", said: Said) -> tuple[Recogniser, tuple[str, ...]]:
    """Find the parts of a module by running it on strings; see :meth:`tallycell.Recogniser.from_torch`.

    Raises
    ------
    InputError
        If it cannot be run, or does something else than a recogniser; the layer is named.
    """
    try:
        from torch import nn
    except ImportError:
        nn = None  # type: ignore[assignment]
    if nn is None or not isinstance(module, nn.Module):
        raise InputError(f"got a {type(module).__name__}; expected a torch.nn.Module (a file: Recogniser.from_loaded)")
    run = _run(module, said)
    parts = _parts(run, said)
    return put_together(parts, said)


@dataclass(frozen=True, eq=False)
class _Call:
    """What one module read and gave, by sequence and step where it can be told."""

    path: str
    module: Any
    read: np.ndarray | None
    gave: np.ndarray | None


@dataclass(eq=False)
class _Run:
    """One run of the whole module: which symbols, what its parts did in their order, and what came out."""

    codes: Int[np.ndarray, "sequence step"]
    path: str
    lstm: Any
    states: tuple[np.ndarray, np.ndarray] | None = None
    read: np.ndarray | None = None
    calls: list[_Call] = field(default_factory=list)
    before: list[_Call] = field(default_factory=list)
    out: np.ndarray | None = None


def _run(module: "nn.Module", said: Said) -> _Run:
    import torch

    path, lstm = _only_lstm(module)
    rng = np.random.default_rng(0)
    sequences = max(SEQUENCES, len(said.alphabet))
    codes = rng.integers(len(said.alphabet), size=(sequences + (sequences == STEPS), STEPS))
    codes[: len(said.alphabet), 0] = np.arange(len(said.alphabet))  # each symbol occurs
    run = _Run(codes, path, lstm)
    errors: list[str] = []
    for given in _ways_to_give(module, lstm, codes, len(said.alphabet)):
        run = _Run(codes, path, lstm)
        try:
            with torch.no_grad(), _resting(module), _watched(module, run):
                run.out = _shaped(_tensor_of(module(given)), codes)
        except Exception as error:  # the module is anybody's
            errors.append(one_line(error))
            continue
        if run.read is not None and run.read.shape[:2] == codes.shape:
            return run
        errors.append(f"its LSTM did not read {codes.shape[0]} sequences of {codes.shape[1]} symbols")
    raise InputError(
        f"{type(module).__name__} could not be run on symbol numbers or on one-hot vectors of {len(said.alphabet)} "
        f"symbols: {listed(errors, 2)}; its forward must take one tensor, (batch, time) or (batch, time, symbol), and "
        f"know {len(said.alphabet)} symbols"
    )


def _only_lstm(module: "nn.Module") -> tuple[str, Any]:
    from torch import nn

    found = lstm_modules(module)
    if len(found) != 1:
        raise InputError(
            f"{type(module).__name__} holds {len(found)} LSTMs{f', at {listed(found)}' if found else ''}; expected one "
            "torch.nn.LSTM, of any number of layers"
        )
    path, lstm = next(iter(found.items()))
    if not isinstance(lstm, nn.LSTM):
        raise InputError(
            f"the LSTM at {quoted(path)} is an LSTMCell, which the module calls step by step; expected a torch.nn.LSTM "
            "(its weights fit: weight_ih becomes weight_ih_l0 and so on)"
        )
    return path, lstm


def _ways_to_give(module: "nn.Module", lstm: Any, codes: np.ndarray, symbols: int) -> "Iterator[torch.Tensor]":
    """Give what the module may take: symbol numbers where it has an embedding, else one-hot vectors."""
    import torch
    from torch import nn

    like = next(module.parameters())
    numbers = torch.as_tensor(codes, device=like.device)
    one_hot = torch.eye(symbols, dtype=like.dtype, device=like.device)[numbers]
    embeds = any(isinstance(one, nn.Embedding | nn.EmbeddingBag) for one in module.modules())
    for given in (numbers, one_hot) if embeds else (one_hot, numbers):
        ways = (given, given.transpose(0, 1))
        yield from ways if lstm.batch_first else ways[::-1]


@contextmanager
def _resting(module: "nn.Module") -> "Iterator[None]":
    """Let nothing be dropped while it runs."""
    training = [one for one in module.modules() if one.training]
    module.eval()
    try:
        yield
    finally:
        for one in training:
            one.training = True


@contextmanager
def _watched(module: "nn.Module", run: _Run) -> "Iterator[None]":
    """Note what every part without parts of its own reads and gives."""

    def note(path: str, part: Any) -> Any:
        def hook(_: Any, given: tuple[Any, ...], gave: Any) -> None:
            read = _shaped(_tensor_of(given), run.codes)
            call = _Call(path, part, read, _shaped(_tensor_of(gave), run.codes))
            if part is run.lstm:
                # Which axis is time only the LSTM knows: another way round it would read across sequences.
                run.read = read if _is_laid_as(part, given[0], run.codes) else None
                run.before, run.calls = run.calls, [call]
                if len(given) > 1 and given[1] is not None:
                    run.states = tuple(one.detach().cpu().numpy() for one in given[1])
            else:
                run.calls.append(call)

        return part.register_forward_hook(hook)

    hooks = [note(path, part) for path, part in module.named_modules() if part is run.lstm or not _has_parts(part)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_laid_as(lstm: Any, given: Any, codes: np.ndarray) -> bool:
    if not hasattr(given, "shape"):  # packed
        return True
    return tuple(given.shape[:2]) == (codes.shape if lstm.batch_first else codes.shape[::-1])


def _has_parts(part: "nn.Module") -> bool:
    return next(part.children(), None) is not None


def _tensor_of(value: Any) -> Any:
    """Give the tensor of what a module takes or gives: the first of several."""
    import torch
    from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

    if isinstance(value, PackedSequence):
        return pad_packed_sequence(value, batch_first=True)[0]
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return next((found for one in value if (found := _tensor_of(one)) is not None), None)
    return None


def _shaped(tensor: Any, codes: np.ndarray) -> np.ndarray | None:
    """Give (sequence, step, ...) or, of one step, (sequence, ...); None if a tensor has neither."""
    if tensor is None:
        return None
    values: np.ndarray = tensor.detach().cpu().numpy().copy()  # a layer that works in place writes into it
    sequences, steps = codes.shape
    if values.shape[:2] == (sequences, steps):
        return values
    if values.shape[:2] == (steps, sequences):
        return values.swapaxes(0, 1)
    return values


def _parts(run: _Run, said: Said) -> Parts:
    """Read the parts off a run, and see that they give what it gave."""
    parameters, _ = module_parameters(run.lstm)
    assert run.read is not None
    inputs, notes = _inputs(run, len(said.alphabet))
    h_0, c_0 = _states(run)
    net = Recogniser(
        said.alphabet, inputs, parameters, np.zeros((1, parameters.output_size * parameters.num_directions)),
        np.zeros(1), ("h",), "threshold", h_0, c_0,
    )  # fmt: skip
    h, theirs = run_codes(net, run.codes.T).swapaxes(0, 1), run.calls[0].gave
    if theirs is None or not _is_close(h, theirs):
        raise InputError(
            f"the LSTM at {quoted(run.path)} gives something else than its weights say; a hook or a forward of its own "
            "changes it"
        )
    weight, bias, more = _behind(run, theirs)
    return Parts(parameters, inputs, weight, bias, h_0, c_0, notes + more)


def _inputs(run: _Run, symbols: int) -> tuple[Float[np.ndarray, "symbol feature"], tuple[str, ...]]:
    """Give what the LSTM reads at each symbol; it must read the same each time."""
    assert run.read is not None
    inputs = np.array([run.read[run.codes == code].astype(float).mean(axis=0) for code in range(symbols)])
    last = next((call for call in reversed(run.before) if call.gave is not None), None)
    if not _is_close(inputs[run.codes], run.read):
        name = "what stands in front of it" if last is None else _called(last)
        raise InputError(
            f"the LSTM at {quoted(run.path)} does not read the same each time a symbol comes: {name} mixes steps or "
            "draws; a recogniser reads one vector a symbol"
        )
    folded = [_called(call) for call in run.before if type(call.module).__name__ not in (*_PASSES, "Embedding")]
    if not folded:
        return inputs, ()
    return inputs, (f"{', '.join(folded)} in front of the LSTM is folded into what it reads at each symbol",)


def _states(run: _Run) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Give the initial states that the module gave its LSTM; they must be the same for each sequence."""
    if run.states is None:
        return None, None
    for one in run.states:
        if not _is_close(np.repeat(one[:, :1], one.shape[1], axis=1), one):
            raise InputError(f"the LSTM at {quoted(run.path)} starts at a state of its own for each sequence")
    return run.states[0][:, 0], run.states[1][:, 0]


def _behind(run: _Run, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Follow h to what comes out, through linear layers; whatever else changes it is refused by its name."""
    weight, bias = np.eye(h.shape[-1]), np.zeros(h.shape[-1])
    now, folded = h, []
    for call in run.calls[1:]:
        kind = type(call.module).__name__
        if call.read is None or call.gave is None or not _reads(call.read, now) or kind in _KEEPS_ORDER:
            continue
        if kind == "Linear":
            own = call.module.weight.detach().cpu().numpy().astype(float)
            offset = 0.0 if call.module.bias is None else call.module.bias.detach().cpu().numpy().astype(float)
            weight, bias = own @ weight, own @ bias + offset
            folded.append(_called(call))
            now = call.gave
        elif kind not in _PASSES and not (call.gave.shape == call.read.shape and _is_close(call.gave, call.read)):
            raise InputError(
                f"{_called(call)} stands behind the LSTM and is not linear; a recogniser has a linear layer there and "
                "nothing else"
            )
    logits = h.astype(float) @ weight.T + bias
    if not folded:
        raise InputError(
            f"no torch.nn.Linear reads what the LSTM at {quoted(run.path)} gives; a recogniser has one. Behind it "
            f"run {', '.join(map(_called, run.calls[1:11]))}"
        )
    if run.out is None or not any(_reads(run.out, one) for one in _squashed(logits)):
        raise InputError(
            f"what comes out is not what {folded[-1]} gives of h, nor its softmax or sigmoid: something that is no "
            "layer changes it, or it reads more than h"
        )
    return weight, bias, (f"{', '.join(folded)} are folded into one readout",) if len(folded) > 1 else ()


def _squashed(logits: Float[np.ndarray, "sequence step output"]) -> list[np.ndarray]:
    """Give logits, and what functions make of them that leave which is larger as it is."""
    log = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    found = [logits, log, np.exp(log), sigmoid, np.log(np.maximum(sigmoid, 1e-300))]
    return [*found, *(one[..., 0] for one in found)] if logits.shape[-1] == 1 else found


def _reads(values: np.ndarray, source: np.ndarray) -> bool:
    """Whether values are those of a source: at every step, one after the other, or at the last step alone."""
    if values.shape == source.shape:
        return _is_close(values, source)
    if source.ndim >= 2 and values.shape == source[:, -1].shape:
        return _is_close(values, source[:, -1])
    if values.size == source.size and values.shape[-1] == source.shape[-1]:
        flat = values.reshape(-1, values.shape[-1])
        return _is_close(flat, source.reshape(flat.shape)) or _is_close(flat, source.swapaxes(0, 1).reshape(flat.shape))
    return False


def _is_close(found: np.ndarray, expected: np.ndarray) -> bool:
    scale = max(float(np.abs(expected).max(initial=0)), 1.0)
    return found.shape == expected.shape and bool((np.abs(found - expected) <= CLOSE * scale).all())


def _called(call: _Call) -> str:
    return f"{quoted(call.path)} ({type(call.module).__name__})"
