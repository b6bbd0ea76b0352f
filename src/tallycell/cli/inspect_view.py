"""What a model file holds, as a tree in the terminal and as JSON."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tallycell.cli.terminal import SHOWN_CHARACTERS
from tallycell.loaders import LoadedModel, Place
from tallycell.names import DIRECTIONS
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, quoted, shown

FORGET_GATES = {
    "own": "",
    "coupled": "its forget gate is coupled to the input gate, f = 1 - i",
    "none": "it has no forget gate, f = 1",
}
SHOWN_SYMBOLS = 12
SHOWN_LSTMS = 100
MOST_OF_A_CASE = 1_000  # characters of when an LSTM runs


def count(number: int, noun: str) -> str:
    """Say how many there are.

    Examples
    --------
    >>> count(1, "layer"), count(2048, "unit")
    ('1 layer', '2,048 units')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size_of(parameters: LSTMParameters) -> str:
    """Say in one line how large an LSTM is."""
    directions = "both directions" if parameters.bidirectional else "one direction"
    weights = sum(weight.size for weight in parameters.weights.values())
    return (
        f"LSTM of {count(parameters.hidden_size, 'unit')}, {count(parameters.num_layers, 'layer')}, {directions}, "
        f"{count(parameters.input_size, 'input')}, {weights:,} weights ({parameters.dtype})"
    )


def activations_of(parameters: LSTMParameters) -> str:
    """Names of the activations in the slots gate, cell and hidden, by direction where those differ."""
    by_direction = dict.fromkeys(parameters.slots(direction) for direction in range(parameters.num_directions))
    return ", ".join(f"{slot.gate.name}/{slot.cell.name}/{slot.hidden.name}" for slot in by_direction)


def options_of(parameters: LSTMParameters) -> list[str]:
    """Say what an LSTM has that not every LSTM has."""
    options = [
        f"it projects h to {parameters.proj_size}" if parameters.proj_size else "",
        "it has peepholes" if parameters.peepholes else "",
        FORGET_GATES[parameters.forget_gate],
        f"its pre-activations are clipped at {parameters.clip_pre:g}" if parameters.clip_pre is not None else "",
        f"its cells are clipped at {parameters.clip_cell:g}" if parameters.clip_cell is not None else "",
    ]
    return [option for option in options if option]


def print_model(console: Console, loaded: LoadedModel, format_name: str) -> None:
    """Print what a file holds."""
    tree = Tree(Text(f"{shown(loaded.source.name)}: {format_name}, {count(len(loaded), 'LSTM')}", style="bold"))
    for path, parameters in islice(loaded.items(), SHOWN_LSTMS):
        branch = tree.add(Text.assemble((_name(path), "bold cyan"), f"  {size_of(parameters)}"))
        for line in _lines_of(parameters, loaded.places[path]):
            branch.add(Text(line))
    for path, reason in islice(loaded.refused.items(), SHOWN_LSTMS):
        tree.add(Text.assemble((_name(path), "bold red"), f"  refused: {reason}"))
    for rest, which in ((len(loaded), "LSTMs"), (len(loaded.refused), "that are refused")):
        if rest > SHOWN_LSTMS:
            tree.add(Text(f"and {rest - SHOWN_LSTMS:,} more {which}; --json gives all"))
    order = (f"order: {line}" for line in islice(loaded.order_in_words(), SHOWN_LSTMS))
    for line in (*order, *_around(loaded)):
        tree.add(Text(line))
    console.print(tree)


def _name(path: str) -> str:
    return shown(path) if path else "(root)"


def _lines_of(parameters: LSTMParameters, place: Place) -> Iterator[str]:
    if any(parameters.slots(direction) != Activations() for direction in range(parameters.num_directions)):
        yield f"its activations (gate/cell/hidden) are {activations_of(parameters)}"
    yield from options_of(parameters)
    if not parameters.bias:
        yield "it has no biases"
    if place.when is not None:
        yield f"it runs {shown(place.when, MOST_OF_A_CASE)}"
    if place.operator != "LSTM":
        yield f"its operator in the file is {shown(place.operator)}"
    if place.stored_as is not None:
        yield f"its weights are stored as {shown(place.stored_as)}"
    if place.reverse:
        yield "it reads its sequence from the last step to the first"
    if place.merge is not None:
        yield f"its directions are joined by {place.merge}"
    if place.reads is not None:
        yield f"it reads {shown(place.reads)}"
    sources = zip(("h_0", "c_0"), place.state_inputs, strict=True)
    states = [f"{name} comes from the input {shown(source)}" for name, source in sources if source is not None]
    if states:
        yield ", ".join(states)


def _around(loaded: LoadedModel) -> Iterator[str]:
    """Say what surrounds the LSTMs."""
    if loaded.embedding is not None:
        symbols, features = loaded.embedding.shape
        yield f"embedding: it gives {count(symbols, 'symbol')} {count(features, 'feature')} each"
    if loaded.front is not None:
        which = "linear" if len(loaded.front.names) == 1 else "one of these"
        yield f"front: {listed(loaded.front.names)} ({which}) gives what the LSTM reads"
    if loaded.vocabulary is not None:
        yield f"vocabulary: {_say_symbols(loaded.vocabulary)}"
    if loaded.head is not None:
        outputs, hidden = loaded.head.weight.shape
        behind = f", {shown(loaded.head.activation)}" if loaded.head.activation else ""
        yield f"head: it takes {hidden:,} to {count(outputs, 'output')}{behind}"
    if loaded.features is not None:
        static = f"; static: {listed(loaded.static)}" if loaded.static else ""
        yield f"features: {', '.join(map(shown, loaded.features[:SHOWN_SYMBOLS]))}{_rest(loaded.features)}{static}"
    if loaded.scaling is not None:
        for name, center in islice(loaded.scaling.center.items(), SHOWN_SYMBOLS):
            yield f"scaling: {shown(name)} less {center:g}, divided by {loaded.scaling.spread[name]:g}"
    if loaded.step is not None:
        yield f"a step is {shown(loaded.step)} long"
    yield from (f"note: {note}" for note in loaded.notes)
    if loaded.recogniser is not None:
        one = loaded.recogniser
        yield f"recogniser (an LSTM that decides): it reads {_say_symbols(one.alphabet)}"
        yield f"recogniser: it gives {count(len(one.outputs), 'output')}, decided by {one.decision}"


def _say_symbols(symbols: tuple[str, ...]) -> str:
    first = " ".join(quoted(symbol, SHOWN_CHARACTERS) for symbol in symbols[:SHOWN_SYMBOLS])
    return f"{count(len(symbols), 'symbol')}, {first}{' ...' if len(symbols) > SHOWN_SYMBOLS else ''}"


def _rest(names: tuple[str, ...]) -> str:
    return f" and {len(names) - SHOWN_SYMBOLS:,} more" if len(names) > SHOWN_SYMBOLS else ""


def as_object(loaded: LoadedModel, format_name: str) -> dict[str, Any]:
    """Give what is printed, for another program."""
    return {
        "file": loaded.source.name,
        "format": format_name,
        "lstms": [_lstm_to_json(path, parameters, loaded.places[path]) for path, parameters in loaded.items()],
        "refused": dict(loaded.refused),
        "embedding": None if loaded.embedding is None else list(loaded.embedding.shape),
        "front": None if loaded.front is None else list(loaded.front.names),
        "vocabulary": None if loaded.vocabulary is None else list(loaded.vocabulary),
        "head": None
        if loaded.head is None
        else {"weight": list(loaded.head.weight.shape), "activation": loaded.head.activation},
        "recogniser": None if loaded.recogniser is None else _recogniser_to_json(loaded.recogniser),
        "in_order": loaded.in_order,
        "features": None if loaded.features is None else list(loaded.features),
        "static": list(loaded.static),
        "scaling": None
        if loaded.scaling is None
        else {"center": dict(loaded.scaling.center), "spread": dict(loaded.scaling.spread)},
        "step": loaded.step,
        "notes": list(loaded.notes),
    }


def _lstm_to_json(path: str, parameters: LSTMParameters, place: Place) -> dict[str, Any]:
    numbers = {name: getattr(parameters, name) for name in (
        "input_size", "hidden_size", "proj_size", "num_layers", "bidirectional", "bias", "peepholes", "forget_gate",
        "clip_pre", "clip_cell",
    )}  # fmt: skip
    slots = [
        {slot: getattr(parameters.slots(d), slot).name for slot in ("gate", "cell", "hidden")}
        for d in range(parameters.num_directions)
    ]
    return {
        "path": path,
        **numbers,
        "dtype": str(parameters.dtype),
        "activations": dict(zip(DIRECTIONS, slots, strict=False)),
        "operator": place.operator,
        "stored_as": place.stored_as,
        "reverse": place.reverse,
        "merge": place.merge,
        "reads": place.reads,
        "when": place.when,
        "state_inputs": list(place.state_inputs),
    }


def _recogniser_to_json(recogniser: Recogniser) -> dict[str, Any]:
    return {
        "alphabet": list(recogniser.alphabet),
        "outputs": list(recogniser.outputs),
        "decision": recogniser.decision,
        "unknown": recogniser.unknown,
    }
