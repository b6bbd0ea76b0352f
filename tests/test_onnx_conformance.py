"""The kernels against the ONNX operator LSTM: conformance vectors, and random nodes in ONNX Runtime.

What ONNX Runtime (CPU) does where the specification leaves room, as these tests find it:

- ``clip`` bounds the four pre-activations, biases and peepholes included, and nothing else: the cell goes into the
  hidden activation unclipped. That is ``clip_pre``.
- ``input_forget`` makes f = 1 - i; the forget gate's own rows and its peephole are not read.
- ``activation_alpha`` and ``activation_beta`` are consumed in the order of the activations, by those that have one.
- Constants that are missing are ONNX's for LeakyRelu, HardSigmoid and Elu, but 0 for Affine, ScaledTanh and
  ThresholdedRelu (the operator ThresholdedRelu has 1). The random nodes state the constants of these three.
- Peepholes, coupling, clip, biases and lengths agree in every combination: none had to be left out.
- Beyond ``sequence_lens`` Y is 0; a sequence of no steps gives states of 0, not the initial states. Here such sequences
  are not drawn: tallycell has none.
- Softplus is log(1 + exp(x)), infinite above 88. Such a node has overflowed and is drawn again.
- ``layout=1`` is refused, which is why the batchwise case is compared with its own vectors.
"""

import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from tallycell.activations import activation
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.layout import Layout
from tallycell.parameters import Activations, LSTMParameters

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
OUTPUTS = ("Y", "Y_h", "Y_c")
# Two correct float32 programs differ by the order of their sums and by ONNX Runtime's polynomials for sigmoid and tanh.
TOLERANCE = 1e-5
NODES = 200

CONSTANTS = {  # of each activation: ranges that alpha and beta are drawn from
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "Affine": ((-1.0, 1.0), (-0.5, 0.5)),
    "LeakyRelu": ((-0.3, 0.5),),
    "ThresholdedRelu": ((-0.5, 1.0),),
    "ScaledTanh": ((-1.5, 1.5), (-1.5, 1.5)),
    "HardSigmoid": ((0.1, 0.6), (0.2, 0.8)),
    "Elu": ((-0.5, 1.5),),
    "Softsign": (),
    "Softplus": (),
}


@dataclass
class Node:
    """One ONNX LSTM: its inputs by name, and its attributes."""

    inputs: dict[str, np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)


def activations_of(node: Node) -> tuple[Activations, ...]:
    """Three slots a direction; constants are consumed by the activations that have them, in order."""
    directions = node.inputs["W"].shape[0]
    names = node.attributes.get("activations", ["Sigmoid", "Tanh", "Tanh"] * directions)
    alphas = iter(node.attributes.get("activation_alpha", []))
    betas = iter(node.attributes.get("activation_beta", []))
    made = []
    for name in names:
        given = zip(("alpha", "beta"), (alphas, betas), CONSTANTS[name], strict=False)
        constants = {which: next(left, None) for which, left, _ in given}
        made.append(activation(name, **{which: value for which, value in constants.items() if value is not None}))
    return tuple(Activations(*made[3 * k : 3 * k + 3]) for k in range(directions))


def parameters_of(node: Node) -> LSTMParameters:
    """The same LSTM in tallycell's words. A node that only reads in reverse is one direction here too."""
    weights = {}
    for k, suffix in zip(range(node.inputs["W"].shape[0]), ("", "_reverse"), strict=False):
        theirs = {"weight_ih": node.inputs["W"][k], "weight_hh": node.inputs["R"][k]}
        if "B" in node.inputs:
            theirs["bias_ih"], theirs["bias_hh"] = np.split(node.inputs["B"][k], 2)
        if "P" in node.inputs:
            theirs["weight_ch"] = node.inputs["P"][k]
        ours = Layout("iofg", biases=2 if "B" in node.inputs else 0).read(theirs)
        weights |= {f"{kind}_l0{suffix}": weight for kind, weight in ours.items()}
    return LSTMParameters(
        weights,
        activations_of(node),
        "coupled" if node.attributes.get("input_forget") else "own",
        clip_pre=node.attributes.get("clip"),
    )


def flipped(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Each sequence from its last step to its first; what stands beyond its length stays."""
    turned = x.copy()
    for k, steps in enumerate(lengths if lengths is not None else [len(x)] * x.shape[1]):
        turned[:steps, k] = x[:steps, k][::-1]
    return turned


def run_ours(node: Node) -> dict[str, np.ndarray]:
    """Y (time, direction, sequence, unit), Y_h and Y_c (direction, sequence, unit) by the kernel that is chosen."""
    x, lengths = node.inputs["X"], node.inputs.get("sequence_lens")
    only_reverse = node.attributes.get("direction") == "reverse"
    inputs = StackInput(
        flipped(x, lengths) if only_reverse else x, node.inputs.get("initial_h"), node.inputs.get("initial_c"), lengths
    )
    (directions,) = run_stack(parameters_of(node), inputs)
    outputs = np.stack([flipped(s.h, lengths) if only_reverse else s.h for s in directions], axis=1)
    if lengths is not None:
        beyond = np.arange(len(x))[:, None] >= lengths
        assert np.isnan(outputs).all(axis=(1, 3))[beyond].all()  # ours is NaN where theirs is 0
        outputs = np.where(beyond[:, None, :, None], 0, outputs)
    return {
        "Y": outputs,
        "Y_h": np.stack([steps.h_n for steps in directions]),
        "Y_c": np.stack([steps.c_n for steps in directions]),
    }


def run_runtime(node: Node) -> dict[str, np.ndarray]:
    """The same by ONNX Runtime."""
    types = {"sequence_lens": onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("LSTM", [n if n in node.inputs else "" for n in INPUTS], OUTPUTS, **node.attributes)],
        "lstm",
        [
            onnx.helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), array.shape)
            for name, array in node.inputs.items()
        ],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in OUTPUTS],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(None, node.inputs), strict=True))


def difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """Largest |a - b| / (1 + max |b|) over the outputs."""
    return max(
        float(np.abs(ours[name].astype(np.float64) - b).max() / (1 + np.abs(b).max())) for name, b in theirs.items()
    )


@cache
def conformance_cases() -> dict[str, Any]:
    """Cases of the operator LSTM that the onnx package makes, by name."""
    # collect_testcases() would make those of all operators first; importing one operator's module makes its own.
    import onnx.backend.test.case.node.lstm as made

    cases = sys.modules[made.__package__]._NodeTestCases
    return {case.name: case for case in cases if case.model.graph.node[0].op_type == "LSTM"}


CONFORMANCE = (
    "test_lstm_defaults",
    "test_lstm_with_initial_bias",
    "test_lstm_with_peepholes",
    "test_lstm_batchwise",
    "test_lstm_reverse",
    "test_lstm_bidirectional",
)


def test_the_conformance_suite_has_these_cases():
    assert set(CONFORMANCE) <= set(conformance_cases())


@pytest.mark.parametrize("name", CONFORMANCE)
def test_conformance_vectors_are_met(name):
    case = conformance_cases()[name]
    operator = case.model.graph.node[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in operator.attribute}
    attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
    batchwise = attributes.get("layout") == 1
    given, expected = case.data_sets[0]
    inputs = dict(zip((name for name in operator.input if name), given, strict=True))
    if batchwise:
        inputs["X"] = inputs["X"].swapaxes(0, 1)
    ours = run_ours(Node(inputs, attributes))
    if batchwise:
        ours = {"Y": ours["Y"].transpose(2, 0, 1, 3), "Y_h": ours["Y_h"].transpose(1, 0, 2)}
    theirs = dict(zip((name for name in operator.output if name), expected, strict=True))
    assert theirs
    for output, b in theirs.items():
        assert ours[output].shape == b.shape
    assert difference(ours, theirs) <= 1e-6  # a few float32 steps


def draw(rng: np.random.Generator) -> Node:
    """An LSTM node with layout 0 and everything else at random."""

    def chance(p: float = 0.5) -> bool:
        return bool(rng.random() < p)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    time, sequences = int(rng.choice([1, 2, 5, 12])), int(rng.choice([1, 2, 3, 7]))
    features, hidden = int(rng.choice([1, 2, 5, 17])), int(rng.choice([1, 2, 3, 8, 33]))
    inputs = {
        "X": normal(time, sequences, features),
        "W": normal(directions, 4 * hidden, features, scale=features**-0.5),
        "R": normal(directions, 4 * hidden, hidden, scale=hidden**-0.5),
    }
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    optional = {
        "B": normal(directions, 8 * hidden, scale=0.5),
        "P": normal(directions, 3 * hidden, scale=0.5),
        "sequence_lens": rng.integers(1, time + 1, sequences).astype(np.int32),
        "initial_h": normal(directions, sequences, hidden),
        "initial_c": normal(directions, sequences, hidden),
    }
    inputs |= {name: value for name, value in optional.items() if chance()}
    if chance(0.4):
        attributes["clip"] = float(np.float32(rng.uniform(0.2, 3)))
    if chance(0.3):
        attributes["input_forget"] = 1
    if chance(0.8):
        names = [str(name) for name in rng.choice(list(CONSTANTS), 3 * directions)]
        attributes["activations"] = names
        for k, key in enumerate(("activation_alpha", "activation_beta")):
            bounds = [CONSTANTS[name][k] for name in names if len(CONSTANTS[name]) > k]
            attributes |= {key: [float(np.float32(rng.uniform(*one))) for one in bounds]} if bounds else {}
    return Node(inputs, attributes)


def moved_by_rounding(node: Node, theirs: dict[str, np.ndarray], rng: np.random.Generator) -> float:
    """How far ONNX Runtime is from itself when every weight moves to a float32 next to it.

    Unbounded activations without clip let some nodes grow to 1e8 and beyond, and a ThresholdedRelu jumps: there no two
    float32 programs can agree. It is about one node in 200.
    """
    moved = {
        name: np.nextafter(w, rng.choice(np.float32([-9, 9]), w.shape))
        for name, w in node.inputs.items()
        if name in "WR"
    }
    return difference(run_runtime(Node(node.inputs | moved, node.attributes)), theirs)


def drawn_nodes(count: int = NODES, seed: int = 20) -> tuple[list[tuple[Node, dict[str, np.ndarray]]], dict[str, int]]:
    """That many random nodes with ONNX Runtime's outputs; and how many were drawn again, and why."""
    rng = np.random.default_rng(seed)
    nodes: list[tuple[Node, dict[str, np.ndarray]]] = []
    again = {"overflowed": 0, "ill-conditioned": 0}
    while len(nodes) < count:
        node = draw(rng)
        theirs = run_runtime(node)
        if not all(np.isfinite(output).all() for output in theirs.values()):
            again["overflowed"] += 1
        elif moved_by_rounding(node, theirs, rng) > TOLERANCE:
            again["ill-conditioned"] += 1
        else:
            nodes.append((node, theirs))
    return nodes, again


@pytest.fixture(scope="module")
def nodes() -> list[tuple[Node, dict[str, np.ndarray]]]:
    drawn, again = drawn_nodes()
    assert again["overflowed"] < NODES // 10  # otherwise the draw leaves out too much
    assert again["ill-conditioned"] < NODES // 50
    return drawn


def test_random_nodes_meet_onnx_runtime(nodes):
    differences = [difference(run_ours(node), theirs) for node, theirs in nodes]
    assert len(differences) == NODES
    worst = int(np.argmax(differences))
    assert differences[worst] <= TOLERANCE, nodes[worst][0].attributes


def test_random_nodes_cover_every_activation_in_every_slot_and_every_pair_of_options(nodes):
    slots = {(name, k % 3) for node, _ in nodes for k, name in enumerate(node.attributes.get("activations", []))}
    assert slots == {(name, slot) for name in CONSTANTS for slot in range(3)}
    options = ("B", "P", "sequence_lens", "initial_h", "initial_c", "clip", "input_forget", "activations")
    present = [[option in node.inputs or option in node.attributes for option in options] for node, _ in nodes]
    table = np.array(present)
    for first in range(len(options)):
        for second in range(first):
            assert len({tuple(row) for row in table[:, [first, second]].tolist()}) == 4
    assert {node.attributes["direction"] for node, _ in nodes} == {"forward", "reverse", "bidirectional"}


def small_node(seed: int = 0, **attributes: Any) -> Node:
    """One direction, everything there; cells grow to about 3."""
    rng = np.random.default_rng(seed)
    shapes = {"X": (6, 2, 3), "W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32), "P": (1, 12), "initial_c": (1, 2, 4)}
    inputs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    inputs["initial_c"] *= 3
    return Node(inputs, {"hidden_size": 4, **attributes})


def test_clip_bounds_the_pre_activations_and_not_the_cell():
    node = small_node(
        clip=0.5, activations=["Sigmoid", "Tanh", "Affine"], activation_alpha=[1.0], activation_beta=[0.0]
    )
    theirs = run_runtime(node)
    assert difference(run_ours(node), theirs) <= 1e-6
    assert np.abs(theirs["Y_c"]).max() > 0.5
    assert np.abs(theirs["Y"]).max() > 0.5  # with a hidden activation that does nothing, h = o c shows the cell
    unclipped = Node(node.inputs, {key: value for key, value in node.attributes.items() if key != "clip"})
    assert difference(run_ours(unclipped), theirs) > 0.1


@pytest.mark.parametrize("slot", range(3))
@pytest.mark.parametrize("name", ["LeakyRelu", "HardSigmoid", "Elu"])
def test_constants_that_are_missing_are_those_of_onnx_runtime(name, slot):
    names = ["Sigmoid", "Tanh", "Tanh"]
    names[slot] = name
    node = small_node(activations=names)
    assert difference(run_ours(node), run_runtime(node)) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "zeros"),
    [("Affine", {"alpha": 0, "beta": 0}), ("ScaledTanh", {"alpha": 0, "beta": 0}), ("ThresholdedRelu", {"alpha": 0})],
)
def test_onnx_runtime_takes_0_for_the_missing_constants_of_these_three(name, zeros):
    node = small_node(activations=["Sigmoid", name, "Tanh"])
    stated = {f"activation_{which}": [float(value)] for which, value in zeros.items()}
    theirs = run_runtime(node)
    assert difference(run_ours(Node(node.inputs, node.attributes | stated)), theirs) <= TOLERANCE
    assert difference(run_ours(node), theirs) > 0.01  # ours are ONNX's, so a loader has to state these


def test_the_coupled_forget_gate_reads_neither_its_rows_nor_its_peephole():
    node = small_node(input_forget=1)
    changed = small_node(input_forget=1)
    for name in ("W", "R"):
        changed.inputs[name][:, 8:12] = 9.0  # i o f c
    changed.inputs["P"][:, 8:12] = 9.0  # i o f
    before, after = run_runtime(node), run_runtime(changed)
    assert difference(before, after) == 0
    assert difference(run_ours(changed), after) <= TOLERANCE
