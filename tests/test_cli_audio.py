"""Sound on the command line: WAV files of every kind, a model's own front end, and what the cells are compared with."""

import io
import json
import re
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

import tallycell as tc
from tallycell.errors import FormatError, InputError
from tallycell.opening.front_end import Cutting, FrontEnd, Port, plan_front_end, ports_of
from tallycell.opening.sound import Sound, read_wav
from tallycell.opening.sound_quantities import SILENCE, audio_quantities

RATE = 1_000  # of the small models: 32 samples are 32 ms


def tone(seconds=0.5, rate=8_000, frequency=500.0, loudness=0.5):
    return loudness * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write_pcm(path, samples, width, channels=1, rate=8_000):
    """With the standard library, whose authors did not write our reader."""
    scaled = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    raw = b"".join(
        (int(x) + 128).to_bytes(1, "little") if width == 1 else int(x).to_bytes(width, "little", signed=True)
        for x in scaled.ravel()
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(raw)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width_is_the_sound_that_was_written(tmp_path, width):
    samples = tone()
    write_pcm(tmp_path / "tone.wav", samples, width)
    sound = read_wav(tmp_path / "tone.wav")
    assert sound.rate == 8_000
    # One step of the width, and the half step by which full scale differs on the two sides.
    np.testing.assert_allclose(sound.samples, samples, atol=2 / 2 ** (8 * width - 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path, dtype):
    samples = tone().astype(dtype)
    wavfile.write(tmp_path / "tone.wav", 8_000, samples)
    np.testing.assert_array_equal(read_wav(tmp_path / "tone.wav").samples, samples)


def test_channels_become_their_mean(tmp_path):
    both = np.stack([tone(), -0.5 * tone()], axis=1)
    write_pcm(tmp_path / "both.wav", both, 2, channels=2)
    np.testing.assert_allclose(read_wav(tmp_path / "both.wav").samples, both.mean(1), atol=1e-4)


def test_another_rate_keeps_the_tone_and_drops_what_it_cannot_hold():
    low = Sound(tone(1.0, 16_000, 500.0), 16_000).at_rate(8_000)
    assert (low.rate, len(low.samples)) == (8_000, 8_000)
    # Away from the ends the filter's ripple is all that differs.
    np.testing.assert_allclose(low.samples[500:-500], tone(1.0)[500:-500], atol=5e-3)
    high = Sound(tone(1.0, 16_000, 6_000.0), 16_000).at_rate(8_000)
    assert np.abs(high.samples[500:-500]).max() < 5e-3


def test_file_that_promises_more_than_it_holds_costs_no_memory(tmp_path):
    write_pcm(tmp_path / "tone.wav", tone(), 2)
    damaged = bytearray((tmp_path / "tone.wav").read_bytes())
    damaged[40:44] = struct.pack("<I", 2**32 - 16)
    (tmp_path / "large.wav").write_bytes(damaged)
    np.testing.assert_allclose(read_wav(tmp_path / "large.wav").samples, tone(), atol=1e-4)


def test_every_damaged_file_is_refused_or_read(tmp_path):
    write_pcm(tmp_path / "tone.wav", tone(0.01), 2)
    whole = (tmp_path / "tone.wav").read_bytes()
    draw = np.random.default_rng(0)
    refused = 0
    for k in range(500):
        damaged = bytearray(whole[: draw.integers(1, len(whole) + 1)])
        damaged[draw.integers(min(44, len(damaged)))] ^= 1 << draw.integers(8)
        (tmp_path / "damaged.wav").write_bytes(damaged)
        try:
            assert np.isfinite(read_wav(tmp_path / "damaged.wav").samples).all(), k
        except (FormatError, InputError):
            refused += 1
    assert refused > 100


def test_quantities_are_those_of_the_last_moment():
    rate, hop = 8_000, 256
    samples = np.concatenate([np.zeros(10 * hop), tone(10 * hop / rate, rate, 1_000.0)])
    found = audio_quantities(samples, rate, hop=hop, steps=20)
    assert (found["loudness"][:10] == SILENCE).all()
    # Half of full scale has a root mean square of 1 / (2 sqrt 2).
    np.testing.assert_allclose(found["loudness"][10:], 20 * np.log10(0.5 / np.sqrt(2)), atol=0.01)
    np.testing.assert_allclose(found["spectral centroid"][10:], 1_000, atol=10)
    np.testing.assert_allclose(found["zero-crossing rate"][10:], 2_000, atol=40)


def test_steps_of_one_sample_share_moments():
    samples = np.concatenate([np.zeros(4_000), tone(0.5)])
    found = audio_quantities(samples, 8_000, hop=1, steps=8_000)
    assert (found["loudness"][:4_000] == SILENCE).all()
    assert found["loudness"][-1] == pytest.approx(-9.03, abs=0.01)
    # 125 moments a second at most.
    assert np.count_nonzero(np.diff(found["loudness"])) <= 63


# ---- models ----------------------------------------------------------------------------------------------------------


HIDDEN, FEATURES = 3, 2


def detector(path, width, *, rows=1, rate_input=True, states=True):
    """Write an ONNX model of silero's kind: each row of samples becomes features, and a step of an LSTM reads them."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(1)
    tensors = {
        "front": draw.normal(size=(width, FEATURES)),
        "W": draw.normal(size=(1, 4 * HIDDEN, FEATURES)), "R": draw.normal(size=(1, 4 * HIDDEN, HIDDEN)),
        "B": draw.normal(size=(1, 8 * HIDDEN)), "out": draw.normal(size=(HIDDEN, 1)),
    }  # fmt: skip
    constants = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in tensors.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    nodes = [
        helper.make_node("MatMul", ["input", "front"], ["features"]),
        helper.make_node("Unsqueeze", ["features", "one"], ["x"]),
        helper.make_node("LSTM", ["x", "W", "R", "B", "", *(["h", "c"] if states else [])], ["y", "h_n", "c_n"],
                         hidden_size=HIDDEN, name="inner/LSTM"),
        helper.make_node("Squeeze", ["y", "one"], ["y_s"]),
        helper.make_node("MatMul", ["y_s", "out"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probability"]),
    ]  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("out", TensorProto.FLOAT, [HIDDEN, 1]),  # a constant, as older exporters list it
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [rows, width]),
    ]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [rows, 1, 1])]
    if states:
        nodes.insert(0, helper.make_node("Split", ["state"], ["h", "c"], axis=0, num_outputs=2))
        nodes.append(helper.make_node("Concat", ["h_n", "c_n"], ["next"], axis=0))
        inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, 1, HIDDEN]))
        outputs.append(helper.make_tensor_value_info("next", TensorProto.FLOAT, [2, 1, HIDDEN]))
    if rate_input:
        inputs.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
        outputs.append(helper.make_tensor_value_info("rate", TensorProto.INT64, []))
        nodes.append(helper.make_node("Identity", ["sr"], ["rate"]))
    graph = helper.make_graph(nodes, "detector", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return tensors


@pytest.fixture
def wav(tmp_path):
    """A second of sound at the rate of the small models, loud and quiet in turn."""
    draw = np.random.default_rng(2)
    samples = draw.normal(size=3_000) * np.repeat([0.2, 0.01] * 15, 100)
    wavfile.write(tmp_path / "sound.wav", RATE, samples.astype(np.float32))
    return tmp_path / "sound.wav"


def expected_features(wav, tensors, chunk, context):
    samples = read_wav(wav).samples.astype(np.float32)
    steps = -(-len(samples) // chunk)
    padded = np.concatenate([np.zeros(context), samples, np.zeros(steps * chunk - len(samples))]).astype(np.float32)
    rows = np.stack([padded[k * chunk : k * chunk + context + chunk] for k in range(steps)])
    return rows @ tensors["front"].astype(np.float32)


@pytest.mark.parametrize("rows", [1, None], ids=["one chunk a call", "any number of chunks a call"])
def test_lstm_is_read_on_what_the_model_gives_it(tmp_path, wav, rows):
    pytest.importorskip("onnxruntime")
    tensors = detector(tmp_path / "vad.onnx", 36, rows=rows)
    given = tc.open_audio(tc.load(tmp_path / "vad.onnx"), wav, rate=RATE)
    features = expected_features(wav, tensors, 32, 4)
    assert given.x.shape == (94, 1, FEATURES)
    np.testing.assert_allclose(given.x[:, 0], features, atol=1e-5)  # float32 sums in another order
    # The model's own output, from the states carried through all calls, is the readout of the trace's h.
    h = tc.record_trace(tc.load(tmp_path / "vad.onnx"), given)["h"].isel(layer=0, direction=0, sequence=0).to_numpy()
    probability = 1 / (1 + np.exp(-(h @ tensors["out"])[:, 0]))
    np.testing.assert_allclose(given.quantities["model output"][0], probability, atol=1e-5)


def test_without_states_each_call_is_a_sequence_of_its_own(tmp_path, wav):
    pytest.importorskip("onnxruntime")
    detector(tmp_path / "plain.onnx", 50, states=False, rate_input=False)
    given = tc.open_audio(tc.load(tmp_path / "plain.onnx"), wav, rate=RATE)
    # A width that is no 36 ms is all new samples; each call starts anew, and so is a sequence of its own.
    assert given.x.shape == (1, 60, FEATURES)
    assert given.quantities["loudness"].shape == (60, 1)


def test_without_states_or_a_fixed_width_one_call_takes_all_there_is():
    front_end = FrontEnd(Port("input", np.dtype(np.float32), (None, 1, None)), RATE, None, 0, {}, {}, {})
    (feed,) = front_end.feeds(np.arange(5.0))
    assert feed["input"].shape == (1, 1, 5)
    assert feed["input"].dtype == np.float32
    assert front_end.steps(5) == 1


@pytest.mark.parametrize(("feeding", "chunk", "context"), [
    ({"rate": RATE}, 32, 4),
    ({"rate": RATE, "context": 6}, 30, 6),
    ({"rate": RATE, "chunk": 18}, 18, 18),
])  # fmt: skip
def test_chunk_and_context_make_the_width_of_the_input(tmp_path, wav, feeding, chunk, context):
    pytest.importorskip("onnxruntime")
    tensors = detector(tmp_path / "vad.onnx", 36)
    given = tc.open_audio(tc.load(tmp_path / "vad.onnx"), wav, **feeding)
    np.testing.assert_allclose(given.x[:, 0], expected_features(wav, tensors, chunk, context), atol=1e-5)


def test_states_go_on_with_the_output_of_their_name(monkeypatch):
    state = (1, 1, HIDDEN)
    outputs = [Port("p", np.dtype(np.float32), (1, 1)), *(Port(n, np.dtype(np.float32), state) for n in ("cn", "hn"))]
    inputs = [Port("x", np.dtype(np.float32), (1, None)), *(Port(n, np.dtype(np.float32), state) for n in ("h", "c"))]
    monkeypatch.setattr("tallycell.opening.front_end.ports_of", lambda path: (inputs, outputs))
    assert plan_front_end(Path("m.onnx"), Cutting()).carry == {"h": "hn", "c": "cn"}
    inputs[1:] = [Port("mask", np.dtype(np.float32), (7,))]
    with pytest.raises(InputError, match=r"an input 'mask' \[7\] and no output of its shape to carry into it"):
        plan_front_end(Path("m.onnx"), Cutting())
    inputs[1:] = [Port("speaker", np.dtype(np.int64), (1,))]
    with pytest.raises(InputError, match=r"the input .speaker. of m\.onnx is neither samples, rate nor state"):
        plan_front_end(Path("m.onnx"), Cutting())


def test_chunk_and_context_that_do_not_fit_are_refused(tmp_path, wav):
    detector(tmp_path / "vad.onnx", 36)
    with pytest.raises(InputError, match="takes 36 samples a call, not 40 new ones behind -4 old ones"):
        tc.open_audio(tc.load(tmp_path / "vad.onnx"), wav, rate=RATE, chunk=40)


def test_ports_tell_free_dimensions_and_no_constants(tmp_path):
    detector(tmp_path / "vad.onnx", 36, rows=None)
    inputs, outputs = ports_of(tmp_path / "vad.onnx")
    assert inputs[0] == Port("input", np.dtype(np.float32), (None, 36))
    assert [port.name for port in inputs] == ["input", "state", "sr"]
    assert inputs[1].fits(outputs[1])
    assert not inputs[0].fits(outputs[1])


def test_input_of_features_is_no_sound(tmp_path, wav):
    detector(tmp_path / "features.onnx", 4)
    with pytest.raises(InputError, match=r"has no input for samples, \(batch, sample\), but input \[1, 4\]"):
        tc.open_audio(tc.load(tmp_path / "features.onnx"), wav)  # 16,000 samples a second


# ---- the command -----------------------------------------------------------------------------------------------------


def loudness_meter(path):
    """An LSTM of one unit that reads samples and writes where they are far from 0, as RTNeural's JSON has it."""
    kernel = [[0.0, 0.0, 8.0, 0.0]]
    layer = {"type": "lstm", "activation": "tanh", "shape": [None, None, 1],
             "weights": [kernel, [[0.0] * 4], [2.0, 3.0, 0.0, 2.0]]}  # fmt: skip
    path.write_text(json.dumps({"in_shape": [None, None, 1], "layers": [layer]}))


def test_lstm_with_one_input_reads_the_samples(run, tmp_path, wav):
    loudness_meter(tmp_path / "meter.json")
    status, out, _ = run("read", tmp_path / "meter.json", "--audio", wav)
    assert status == 0
    assert "sound.wav: 3.0 s of sound at 1,000 Hz, one step a sample" in out
    assert re.search(r"forget within [0-9.]+ s; a quarter", out)  # seconds, as a step is a sample
    given = tc.open_audio(tc.load(tmp_path / "meter.json"), wav)
    np.testing.assert_array_equal(given.x[:, 0], read_wav(wav).samples)
    assert not given.legible


def test_reading_of_a_sound_names_quantities_as_triggers(run, tmp_path, wav):
    pytest.importorskip("onnxruntime")
    detector(tmp_path / "vad.onnx", 36)
    status, out, _ = run("read", tmp_path / "vad.onnx", "--audio", wav, "--rate", RATE, "--json")
    value = json.loads(out)
    assert status == 0
    assert "3.0 s of sound at 1,000 Hz, 94 steps of 0.032 s" in value["description"][-1]
    stimuli = {t["stimulus"] for unit in value["units"] for event in unit["triggers"].values() for t in event}
    assert stimuli
    assert {one.partition(" ")[2] for one in stimuli} <= {
        "loudness", "zero-crossing rate", "spectral centroid", "model output",
    }  # fmt: skip


def test_trace_of_a_sound_keeps_what_the_lstm_read(run, tmp_path, wav):
    pytest.importorskip("zarr")
    pytest.importorskip("onnxruntime")
    tensors = detector(tmp_path / "vad.onnx", 36)
    status, _, _ = run("trace", tmp_path / "vad.onnx", wav, "-o", tmp_path / "t.zarr", "--rate", RATE)
    assert status == 0
    x = tc.open_trace(tmp_path / "t.zarr")["x"].isel(sequence=0).to_numpy()
    np.testing.assert_allclose(x, expected_features(wav, tensors, 32, 4), atol=1e-5)


def write(path, content):
    path.write_bytes(content)
    return path


def test_bad_sound_is_one_clear_line_and_status_2(run, tmp_path, wav):
    loudness_meter(tmp_path / "meter.json")
    weights = {"weight_ih_l0": np.ones((4, 3)), "weight_hh_l0": np.ones((4, 1))}
    tc.save(tc.LSTMParameters(weights), tmp_path / "wide.safetensors")
    empty, infinite = io.BytesIO(), io.BytesIO()
    wavfile.write(empty, 8_000, np.zeros(0, np.int16))
    wavfile.write(infinite, 8_000, np.full(10, np.inf, np.float32))
    fast = bytearray(wav.read_bytes())
    fast[24:28] = struct.pack("<I", 2_000_000_000)
    meter = tmp_path / "meter.json"
    cases = {
        "none.wav; give the path of a WAV file": (meter, tmp_path / "none.wav"),
        "is not a WAV file of PCM or floats, or is damaged": (meter, write(tmp_path / "text.wav", b"no sound at all")),
        "holds no samples": (meter, write(tmp_path / "empty.wav", empty.getvalue())),
        "samples that are NaN or infinite": (meter, write(tmp_path / "inf.wav", infinite.getvalue())),
        "claims 2,000,000,000 samples a second": (meter, write(tmp_path / "fast.wav", bytes(fast))),
        "reads 3 features a step, not samples": (tmp_path / "wide.safetensors", wav),
    }
    for expected, (model, sound) in cases.items():
        status, out, err = run("read", model, "--audio", sound)
        assert (status, out, err.count("\n")) == (2, "", 1), (expected, err)
        assert expected in err
    for extra, expected in (
        (("--chunk", 5), "chunk and context (--chunk, --context) are for ONNX models"),
        (("--rate", 5), "5 samples a second are asked for; expected 1,000 to 768,000"),
    ):
        status, _, err = run("read", meter, "--audio", wav, *extra)
        assert (status, err.count("\n")) == (2, 1)
        assert expected in err
