"""DyNet's text files: the LSTM that is read does what DyNet's equations say, written out once more here."""

import numpy as np
import pytest

import tallycell as tc
from tallycell.errors import FormatError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.loaders.dynet_file import load_dynet

LAYERS, INPUTS, UNITS, SYMBOLS, OUTPUTS = 2, 3, 4, 5, 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def parameters():
    rng = np.random.default_rng(0)
    found = [("LookupParameter", "/_0", rng.normal(size=(INPUTS, SYMBOLS)))]
    for layer in range(LAYERS):
        shapes = (4 * UNITS, UNITS if layer else INPUTS), (4 * UNITS, UNITS), (4 * UNITS,)
        for k, shape in enumerate(shapes):
            found.append(("Parameter", f"/vanilla-lstm-builder/_{3 * layer + k}", rng.normal(size=shape)))
    found += [("Parameter", "/_1", rng.normal(size=(OUTPUTS, UNITS))), ("Parameter", "/_2", rng.normal(size=OUTPUTS))]
    return found


def written(found):
    lines = []
    for kind, name, array in found:
        lines.append(f"#{kind}# {name} {{{','.join(map(str, array.shape))}}} {16 * array.size} ZERO_GRAD")
        lines.append(" ".join(f"{value:.9e}" for value in array.ravel(order="F")))
    return "\n".join(lines) + "\n"


def by_dynet(found, codes):
    """Run DyNet's VanillaLSTMBuilder over symbols: gates i f o g, 1 added to f; give the scores."""
    arrays = {name: array for _, name, array in found}
    states = [(np.zeros(UNITS), np.zeros(UNITS)) for _ in range(LAYERS)]
    said = []
    for code in codes:
        x = arrays["/_0"][:, code]
        for layer in range(LAYERS):
            of_x, of_h, bias = (arrays[f"/vanilla-lstm-builder/_{3 * layer + k}"] for k in range(3))
            h, c = states[layer]
            i, f, o, g = np.split(of_x @ x + of_h @ h + bias, 4)
            c = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(g)
            x = h = sigmoid(o) * np.tanh(c)
            states[layer] = h, c
        said.append(arrays["/_1"] @ x + arrays["/_2"])
    return np.array(said)


def test_it_runs_as_dynet_runs_it(tmp_path):
    found, path = parameters(), tmp_path / "net.model"
    path.write_text(written(found))
    model = tc.load(path)
    assert list(model) == ["vanilla-lstm-builder"]
    codes = np.random.default_rng(1).integers(SYMBOLS, size=12)
    start = np.zeros((LAYERS, 1, UNITS), np.float32)
    *_, last = run_stack(model.lstm, StackInput(model.embedding.astype(np.float32)[codes][:, None], start, start))
    ours = last[0].h[:, 0] @ model.head.weight.T + model.head.bias
    np.testing.assert_allclose(ours, by_dynet(found, codes), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("{16}", "{17}", 1), "should hold (17,) numbers, and 16 stand behind it; it is"),
        (lambda text: text.replace("ZERO_GRAD", "NO_GRAD", 1), "expected a line such as '#Parameter# /name {4,2} 80'"),
        (lambda text: text.replace("e-01", "x", 1), "are no numbers; it is damaged"),
        (lambda text: text.replace("vanilla-lstm-builder/_0", "other/_0"), "holds 0 LSTMs that can be read; exp"),
        (lambda text: text[: len(text) // 2], "damaged"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path, change, said):
    path = tmp_path / "net.model"
    path.write_text(change(written(parameters())))
    with pytest.raises(FormatError) as refused:
        load_dynet(path)
    assert said in str(refused.value)
