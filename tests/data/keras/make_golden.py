"""Write the files of this folder: small models of Keras 3, what their layers give, and weights it has taken.

It needs what the project's tests do not: ``pip install keras==3.15.0``, beside torch. Run from this folder::

    KERAS_BACKEND=torch python make_golden.py
"""

import keras
import numpy as np
from keras import layers

import tallycell as tc

MODEL = "layers"


def save_model() -> None:
    """Save a model with an LSTM in every wrapping that Keras has, and the inputs and outputs of each."""
    keras.utils.set_random_seed(7)
    tokens = keras.Input((5,), dtype="int32")
    deep = layers.LSTM(3, return_sequences=True, name="deep")
    nested = keras.Sequential([deep, layers.GRU(3, return_sequences=True)], name="inner")
    sum_layer = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True, go_backwards=True, recurrent_activation="hard_sigmoid", name="a"),
        backward_layer=layers.LSTM(3, return_sequences=True, name="b"),
        merge_mode="sum",
        name="sum",
    )
    by_name = {
        "sum": sum_layer,
        "mul": layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="mul", name="mul"),
        "ave": layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="ave", name="ave"),
        "concat": layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="concat"),
        "inner": nested,
        "stack": layers.RNN(
            layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(3)]), return_sequences=True, name="stack"
        ),
        "wide": layers.RNN(
            [layers.LSTMCell(3), layers.LSTMCell(2)], return_sequences=True, go_backwards=True, name="wide"
        ),
        "cell": layers.RNN(layers.LSTMCell(2, use_bias=False), return_sequences=True, name="cell"),
    }
    x = layers.Embedding(7, 4, name="emb")(tokens)
    taps = {}
    for name, layer in by_name.items():
        before, x = x, layer(x)
        taps[name] = (before, x)
    taps["inner/deep"] = (taps.pop("inner")[0], deep(taps["concat"][1]))
    before = layers.Reshape((5, 2, 1))(x)
    x = layers.TimeDistributed(layers.LSTM(2, name="within"), name="td")(before)
    taps["td/within"] = (before, x)
    before, x = x, layers.LSTM(6, go_backwards=True, activation="softsign", name="last")(x)
    taps["last"] = (before, x)
    x = layers.Dense(4, activation="softmax", name="out")(layers.Dropout(0.1)(x))
    model = keras.Model(tokens, x)
    for layer in model.weights:  # biases away from 0, so that they count
        layer.assign(layer + np.random.default_rng(0).normal(size=layer.shape) * 0.3)
    model.save(f"{MODEL}.keras")
    model.save(f"{MODEL}.h5", include_optimizer=False)
    model.save_weights(f"{MODEL}.weights.h5")
    read = np.random.default_rng(1).integers(0, 7, (3, 5))
    outputs = keras.Model(tokens, taps)(read)
    arrays = {f"{name}:{end}": outputs[name][k].detach().numpy() for name in taps for k, end in enumerate("xy")}
    np.savez_compressed(f"{MODEL}.npz", **arrays)


def save_export() -> None:
    """Give Keras the weights of two LSTMs of tallycell, and save what it makes of an input."""
    rng = np.random.default_rng(3)
    arrays = {"x": rng.normal(size=(2, 6, 3)).astype(np.float32)}
    for name, suffixes in (("one", [""]), ("both", ["", "_reverse"])):
        weights = {}
        for layer, suffix in ((layer, suffix) for layer in range(2) for suffix in suffixes):
            width = 4 * len(suffixes) if layer else 3
            shapes = {"weight_ih": (16, width), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
            for kind, shape in shapes.items():
                weights[f"{kind}_l{layer}{suffix}"] = rng.normal(size=shape).astype(np.float32)
        parameters = tc.LSTMParameters(weights, tc.Activations(gate=tc.activation("hard_sigmoid_keras3")))
        y = arrays["x"]
        for k, given in enumerate(tc.to_keras_weights(parameters)):
            layer = layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid")
            layer = layers.Bidirectional(layer) if len(suffixes) == 2 else layer
            layer.build(y.shape)
            layer.set_weights(given)
            y = layer(y).detach().numpy()
            arrays |= {f"{name}:taken:{k}:{number}": array for number, array in enumerate(layer.get_weights())}
        arrays |= {f"{name}:{key}": weight for key, weight in weights.items()} | {f"{name}:y": y}
    np.savez_compressed("export.npz", **arrays)


if __name__ == "__main__":
    save_model()
    save_export()
