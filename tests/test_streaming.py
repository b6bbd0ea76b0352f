"""Streaming against torch.nn.LSTM and LSTMCell with carried states, and the watch over states that do not live."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tallycell
from tallycell import Activations, LSTMParameters, LSTMState, StateWarning, StateWatch, Stream, activation, step
from tallycell.errors import FormatError, InputError, ParameterError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.streaming import steps

torch = pytest.importorskip("torch")

# Some tens of roundings one after the other: the whole run multiplies all time steps at once, in another order.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


def torch_lstm(dtype=torch.float64, **arguments):
    torch.manual_seed(7)
    return torch.nn.LSTM(**arguments, dtype=dtype)


def parameters_of(lstm) -> LSTMParameters:
    return LSTMParameters({name: x.numpy() for name, x in lstm.state_dict().items()})


def small(dtype=np.float64, **arguments) -> LSTMParameters:
    return parameters_of(torch_lstm(input_size=4, hidden_size=3, **arguments)).astype(dtype)


def with_peepholes(parameters: LSTMParameters) -> LSTMParameters:
    rng = np.random.default_rng(3)
    size = 3 * parameters.hidden_size
    peepholes = {f"weight_ch_l{k}": rng.normal(size=size) for k in range(parameters.num_layers)}
    weights = {**parameters.weights, **{k: w.astype(parameters.dtype) for k, w in peepholes.items()}}
    return LSTMParameters(weights, parameters.activations, clip_pre=2.0, clip_cell=0.5)


def random(*shape, seed=5, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def random_state(parameters: LSTMParameters, sequences: int) -> LSTMState:
    layers, dtype = parameters.num_layers, parameters.dtype
    return LSTMState(
        random(layers, sequences, parameters.output_size, dtype=dtype),
        random(layers, sequences, parameters.hidden_size, seed=6, dtype=dtype),
    )


# --- the numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("projection", [0, 2])
@pytest.mark.parametrize("hidden", [3, 63])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_chunks_are_torchs_with_carried_states(dtype, layers, projection, hidden):
    lstm = torch_lstm(input_size=4, hidden_size=hidden, num_layers=layers, proj_size=projection).to(
        {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    )
    parameters = parameters_of(lstm)
    x = random(12, 2, 4, dtype=dtype)
    ours = random_state(parameters, 2)
    theirs = ours.to_torch()
    for chunk in np.split(x, [1, 2, 7]):
        with torch.no_grad():
            expected, theirs = lstm(torch.from_numpy(chunk), theirs)
        h, ours = steps(parameters, chunk, ours)
        assert h.dtype == dtype
        np.testing.assert_allclose(h, expected.numpy(), rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(ours.h, theirs[0].numpy(), rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(ours.c, theirs[1].numpy(), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("sequences", [1, 5])
def test_single_steps_are_those_of_lstm_cell(sequences):
    torch.manual_seed(7)
    cell = torch.nn.LSTMCell(4, 17)
    parameters = LSTMParameters({f"{name}_l0": x.numpy() for name, x in cell.state_dict().items()})
    stream, state = Stream(parameters, sequences), LSTMState.zeros(parameters, sequences)
    theirs = (torch.zeros(sequences, 17), torch.zeros(sequences, 17))
    for x in random(20, sequences, 4, dtype=np.float32):
        with torch.no_grad():
            theirs = cell(torch.from_numpy(x), theirs)
        h, state = step(parameters, x, state)
        np.testing.assert_allclose(h, theirs[0].numpy(), rtol=0, atol=TOLERANCE[np.float32])
        np.testing.assert_array_equal(stream(x), h)
    np.testing.assert_allclose(state.c[0], theirs[1].numpy(), rtol=0, atol=TOLERANCE[np.float32])


@settings(max_examples=60)
@given(
    layers=st.integers(1, 3),
    projection=st.sampled_from([0, 2]),
    peepholes=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    sequences=st.integers(1, 3),
    cuts=st.sets(st.integers(1, 11)),
)
def test_a_sequence_cut_anywhere_gives_the_same_numbers(layers, projection, peepholes, dtype, sequences, cuts):
    parameters = small(dtype, num_layers=layers, proj_size=projection)
    parameters = with_peepholes(parameters) if peepholes else parameters
    x, start = random(12, sequences, 4, dtype=dtype), random_state(parameters, sequences)
    *_, ((whole),) = run_stack(parameters, StackInput(x, start.h, start.c))
    at_once, after = steps(parameters, x, start)
    np.testing.assert_allclose(at_once, whole.h, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(after.c[-1], whole.c_n, rtol=0, atol=TOLERANCE[dtype])

    stream, state, cut, streamed = Stream(parameters, sequences), start, [], []
    stream.state = start
    for chunk in np.split(x, sorted(cuts)):
        h, state = steps(parameters, chunk, state)
        cut.append(h)
        streamed.append(stream.steps(chunk))
    np.testing.assert_array_equal(np.concatenate(cut), at_once)  # bit for bit: one step is one step
    np.testing.assert_array_equal(np.concatenate(streamed), at_once)
    assert state == after == stream.state

    state = start
    for t in range(12):
        h, state = step(parameters, x[t], state)
        np.testing.assert_array_equal(h, at_once[t])
    assert state == after


def test_swapped_activations_and_a_coupled_forget_gate_stream_too():
    slots = Activations(activation("hard_sigmoid"), activation("softsign"), activation("relu"))
    parameters = LSTMParameters(small(num_layers=2).weights, slots, "coupled")
    x = random(9, 1, 4)
    *_, (whole,) = run_stack(parameters, StackInput(x))
    h, _ = steps(parameters, x, LSTMState.zeros(parameters))
    np.testing.assert_allclose(h, whole.h, rtol=0, atol=TOLERANCE[np.float64])


def test_one_sequence_may_leave_its_dimension_out():
    parameters, x = small(), random(6, 1, 4)
    zeros = LSTMState.zeros(parameters)
    h, after = steps(parameters, x, zeros)
    without, same = steps(parameters, x[:, 0], zeros)
    assert (h.shape, without.shape) == ((6, 1, 3), (6, 3))
    np.testing.assert_array_equal(without, h[:, 0])
    assert same == after
    assert step(parameters, x[0, 0], zeros)[0].shape == (3,)
    stream = Stream(parameters)
    assert (stream(x[0]).shape, stream(x[0, 0]).shape, stream.steps(x[:, 0]).shape) == ((1, 3), (3,), (6, 3))


def test_no_time_steps_change_nothing():
    parameters = small()
    state = random_state(parameters, 2)
    h, after = steps(parameters, np.empty((0, 2, 4)), state)
    assert h.shape == (0, 2, 3)
    assert after == state


def test_integers_lists_and_strides_are_read():
    parameters = small(np.float32)
    zeros = LSTMState.zeros(parameters)
    expected, _ = step(parameters, np.array([1, 2, 3, 4], np.float32), zeros)
    strided = np.array([1, 0, 2, 0, 3, 0, 4, 0], np.float32)[::2]
    big_endian = np.array([1, 2, 3, 4], ">f4")
    for x in ([1, 2, 3, 4], np.array([1, 2, 3, 4], np.int16), np.array([1.0, 2, 3, 4]), strided, big_endian):
        for h in (step(parameters, x, zeros)[0], Stream(parameters)(x)):
            np.testing.assert_array_equal(h, expected)
            assert h.dtype == np.float32


def test_numbers_whose_squares_overflow_are_read():
    parameters = small(np.float32)
    x = np.full(4, 1e30, np.float32)
    assert np.isfinite(step(parameters, x, LSTMState.zeros(parameters))[0]).all()
    assert np.isfinite(Stream(parameters)(x)).all()


# --- tensors


def test_a_tensor_goes_in_and_comes_out_without_a_copy():
    parameters = small()
    x, zeros = torch.from_numpy(random(6, 4)), LSTMState.zeros(parameters)
    h, state = step(parameters, x[0], zeros)
    assert isinstance(h, torch.Tensor)
    expected, _ = step(parameters, x[0].numpy(), zeros)
    np.testing.assert_array_equal(h.numpy(), expected)
    h.zero_()  # writeable, and no window to the state
    np.testing.assert_array_equal(state.h[0, 0], expected)
    assert torch.is_tensor(steps(parameters, x, zeros)[0])
    stream = Stream(parameters)
    np.testing.assert_array_equal(stream(x[0]).numpy(), expected)
    assert torch.is_tensor(stream.steps(x))


def test_what_a_tensor_holds_is_read_where_it_stands():
    from tallycell.streaming.inputs import read_array, wrapped

    x = torch.ones(1, 4)
    values, is_tensor = read_array(x, np.dtype(np.float32))
    assert is_tensor
    assert values.ctypes.data == x.data_ptr() == wrapped(values, is_tensor=True).data_ptr()


def test_tensors_that_cannot_be_read_are_refused_by_name():
    parameters = small()
    zeros = LSTMState.zeros(parameters)
    for x, text in {
        torch.ones(4, requires_grad=True): "x requires a gradient, and streaming keeps none; give x.detach(), or use "
        "tallycell.LSTM",
        torch.ones(4, dtype=torch.bfloat16): "x has dtype bfloat16, which NumPy does not have; give x.float()",
        torch.ones(4, device="meta"): "x is on the device meta; streaming runs on the CPU: give x.cpu()",
        torch.ones(4).to_sparse(): "x is of layout torch.sparse_coo; give x.to_dense()",
        torch.ones(4, dtype=torch.complex64): "x has dtype complex64; expected floats or integers",
    }.items():
        with pytest.raises(InputError) as error:
            step(parameters, x, zeros)
        assert str(error.value) == text
    with torch.no_grad():  # where nobody expects a gradient
        assert not step(parameters, torch.ones(4, requires_grad=True), zeros)[0].requires_grad


def test_streaming_loads_no_heavy_library():
    code = "import sys, tallycell as tc; tc.Stream, tc.step; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "onnx", "dask", "zarr", "xarray", "scipy"}


# --- what a caller holds stays


def test_a_step_touches_nothing_that_the_caller_holds():
    parameters, x = small(num_layers=2), random(5, 1, 4)
    state = random_state(parameters, 1)
    h_before, c_before, x_before = state.h.copy(), state.c.copy(), x.copy()
    stream = Stream(parameters)
    stream.state = state
    kept, copies = [], []
    for now in x:
        for h in (stream(now), step(parameters, now, state)[0]):
            kept.append(h)
            copies.append(h.copy())
    shot, shot_c = stream.state, stream.state.c.copy()
    stream(x[0])
    np.testing.assert_array_equal(shot.c, shot_c)
    for h, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(h, copy)
        h[:] = np.nan  # nor does the stream hold what it gave
    assert np.isfinite(stream(x[0])).all()
    np.testing.assert_array_equal(state.h, h_before)
    np.testing.assert_array_equal(state.c, c_before)
    np.testing.assert_array_equal(x, x_before)


def test_a_state_is_frozen_and_does_not_see_its_source_change():
    h, c = np.ones((1, 1, 3)), np.ones((1, 1, 3))
    state = LSTMState(h, c)
    h[:] = 5
    assert (state.h == 1).all()
    for held in (state, LSTMState.zeros(small()), state.reset(), pickle.loads(pickle.dumps(state))):
        with pytest.raises(ValueError, match="read-only"):
            held.c[:] = 0


def test_a_refused_input_leaves_the_stream_as_it_was():
    stream = Stream(small())
    stream(np.ones(4))
    before = stream.state
    for x in (np.full(4, np.nan), np.ones(5), np.ones((2, 4))):
        with pytest.raises(InputError):
            stream(x)
    with pytest.raises(InputError):
        stream.steps(np.array([[1.0, 1, 1, 1], [1, 1, 1, np.inf]]))
    assert stream.state == before


def test_streams_that_share_parameters_do_not_share_states():
    parameters, x = small(), random(4, 4)
    one, other = Stream(parameters), Stream(parameters)
    expected = [one(now) for now in x]
    np.testing.assert_array_equal([other(now) for now in x], expected)
    assert pickle.loads(pickle.dumps(parameters)) == parameters


# --- states


def test_reset_puts_back_only_what_is_named():
    parameters = small(num_layers=2)
    state = random_state(parameters, 3)
    part = state.reset(sequences=[0, -1])
    assert not part.h[:, [0, 2]].any()
    assert not part.c[:, [0, 2]].any()
    np.testing.assert_array_equal(part.c[:, 1], state.c[:, 1])
    np.testing.assert_array_equal(part.h[:, 1], state.h[:, 1])
    assert state.reset() == LSTMState.zeros(parameters, 3)
    assert state.reset([]) == state
    assert state != part
    assert LSTMState(state.h, part.c) != state != LSTMState(part.h, state.c)


def test_a_stream_returns_to_its_start():
    parameters = small(num_layers=2)
    start = random_state(parameters, 1)
    stream, x = Stream(parameters, 2, start=start), random(2, 4)
    first = stream(x)
    middle = stream.state
    stream.reset([1])
    np.testing.assert_array_equal(stream.state.c[:, 1], start.c[:, 0])
    np.testing.assert_array_equal(stream.state.h[:, 1], start.h[:, 0])
    np.testing.assert_array_equal(stream.state.c[:, 0], middle.c[:, 0])
    stream.reset()
    np.testing.assert_array_equal(stream(x), first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_state_comes_back_bit_for_bit(dtype, tmp_path):
    parameters = small(dtype, num_layers=2, proj_size=2)
    _, state = steps(parameters, random(7, 2, 4, dtype=dtype), random_state(parameters, 2))
    state.save(tmp_path / "state.safetensors")
    back = LSTMState.load(str(tmp_path / "state.safetensors"))
    assert (back.h.tobytes(), back.c.tobytes(), back.h.dtype) == (state.h.tobytes(), state.c.tobytes(), dtype)
    assert step(parameters, np.ones((2, 4)), back)[1] == step(parameters, np.ones((2, 4)), state)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_files_that_hold_no_state_are_refused(tmp_path):
    from safetensors.numpy import save_file

    def refusal(path):
        with pytest.raises(FormatError) as error:
            LSTMState.load(path)
        assert str(error.value).startswith(str(path)) or "there is no file" in str(error.value)
        return str(error.value).removeprefix(str(path))

    model, junk, later, poor = (tmp_path / f"{name}.safetensors" for name in ("model", "junk", "later", "poor"))
    tallycell.save(small(), model)
    expected = " does not hold the state of an LSTM; expected a file that LSTMState.save wrote"
    assert refusal(model) == expected
    junk.write_bytes(b"junk" * 20)
    assert refusal(junk).startswith(" cannot be read as a state: ")
    assert "there is no file" in refusal(tmp_path / "none")
    arrays = {"h": np.ones((1, 1, 3)), "c": np.ones((1, 1, 3))}
    save_file(arrays, later, {"tallycell": '{"format": "lstm_state", "version": 2}'})
    assert refusal(later) == " is of version 2; this tallycell reads version 1: install a newer one"
    save_file({"h": arrays["h"]}, poor, {"tallycell": '{"format": "lstm_state", "version": 1}'})
    assert refusal(poor) == expected
    save_file(arrays | {"c": np.full((1, 1, 3), np.nan)}, poor, {"tallycell": '{"format": "lstm_state", "version": 1}'})
    assert refusal(poor) == ": c of the state has NaN or infinite values; start anew with LSTMState.zeros"
    for words, text in {
        "{": " cannot be read as a state: ",
        "[]": expected,
        '{"format": "recogniser"}': expected,
    }.items():
        save_file(arrays, poor, {"tallycell": words})
        assert refusal(poor).startswith(text)


def test_torchs_states_go_both_ways():
    h, c = torch.from_numpy(random(2, 3, 5)), torch.from_numpy(random(2, 3, 7, seed=6))
    state = LSTMState.from_torch((h, c))
    back = state.to_torch()
    assert torch.equal(back[0], h)
    assert torch.equal(back[1], c)
    back[0].zero_()
    assert state.h.any()
    assert LSTMState.from_torch((h[:, 0], c[:, 0])).c.shape == (2, 1, 7)  # torch's state of one sequence
    for wrong in ((h.numpy(), c.numpy()), (h.bfloat16(), c.bfloat16())):
        with pytest.raises(InputError, match=r"^cannot read a state \(.+\); expected the tensors \(h_n, c_n\)$"):
            LSTMState.from_torch(wrong)
    for wrong in (h, (h,)):  # two layers are no pair
        with pytest.raises(InputError, match=r"^cannot read a state from a (Tensor|tuple); expected the tensors "):
            LSTMState.from_torch(wrong)
    with pytest.raises(InputError, match=r"^h of the state has dtype float16; expected float32 or float64$"):
        LSTMState.from_torch((h.half(), c.half()))


def test_states_that_do_not_fit_together_are_refused():
    ones = np.ones((1, 2, 3))
    for h, c, text in [
        (ones, np.ones((1, 1, 3)), "the same layers, sequences and dtype"),
        (ones, ones.astype(np.float32), "the same layers, sequences and dtype"),
        (ones.astype(int), ones, "h of the state has dtype int64; expected float32 or float64"),
        (ones, np.ones(3), r"c of the state has shape \(3,\); expected \(layer, sequence, unit\)"),
        (ones, np.ones((1, 2, 0)), r"c of the state has shape \(1, 2, 0\); expected \(layer, sequence, unit\)"),
        (ones, ones * np.inf, "c of the state has NaN or infinite values; start anew with LSTMState.zeros"),
    ]:
        with pytest.raises(InputError, match=f"{text}$"):
            LSTMState(h, c)


# --- what is refused


def test_a_bidirectional_lstm_is_refused_by_name():
    both = small(bidirectional=True)
    for refused in (
        lambda: LSTMState.zeros(both),
        lambda: Stream(both),
        lambda: step(both, np.ones(4), LSTMState.zeros(small())),
    ):
        with pytest.raises(ParameterError, match=r"^a bidirectional LSTM cannot be streamed: its second direction "):
            refused()


def test_what_is_no_lstm_is_refused():
    for model in (torch_lstm(input_size=4, hidden_size=3), None):
        with pytest.raises(InputError, match=r"^cannot stream a (LSTM|NoneType); expected LSTMParameters: "):
            step(model, np.ones(4), LSTMState.zeros(small()))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ones(5), "x has 5 features, shape (5,); the LSTM reads 4"),
        (np.ones((3, 4)), "x is of 3 sequences, shape (3, 4); the state is of 1"),
        (
            np.ones((2, 1, 4)),
            "x has shape (2, 1, 4); expected (feature,) or (sequence, feature); steps reads several time steps",
        ),
        (np.float64(1), "x has shape (); expected (feature,) or (sequence, feature); steps reads several time steps"),
        (
            [1, np.nan, 0, 0],
            "x has values that are NaN, infinite or too large for float64; they would stay in the state for good. "
            "Leave such a step out, or put a number in their place",
        ),
        (np.array(["a"] * 4), "x has dtype <U1; expected floats or integers"),
        (np.ones(4, bool), "x has dtype bool; expected floats or integers"),
    ],
)
def test_inputs_that_do_not_fit_one_step_are_refused(x, text):
    parameters = small()
    for refused in (lambda: step(parameters, x, LSTMState.zeros(parameters)), lambda: Stream(parameters)(x)):
        with pytest.raises(InputError) as error:
            refused()
        assert str(error.value) == text


def test_inputs_that_do_not_fit_several_steps_are_refused():
    parameters = small(np.float32)
    zeros = LSTMState.zeros(parameters)
    for x, text in [
        (
            np.ones(4),
            r"x has shape \(4,\); expected \(time, feature\) or \(time, sequence, feature\); step reads a",
        ),
        (np.ones((2, 3, 4)), r"x is of 3 sequences, shape \(2, 3, 4\); the state is of 1"),
        (np.full((2, 4), 1e300), "x has values that are NaN, infinite or too large for float32;"),
        ([[1.0], [1.0, 2.0]], r"x of type list does not make an array \(.*\)$"),
    ]:
        for refused in (lambda x=x: steps(parameters, x, zeros), lambda x=x: Stream(parameters).steps(x)):
            with pytest.raises(InputError, match=f"^{text}"):
                refused()


def test_the_state_of_another_network_is_refused():
    parameters = small()
    others = [
        small(num_layers=2),
        small(proj_size=2),
        small(np.float32),
        parameters_of(torch_lstm(input_size=4, hidden_size=5)),
    ]
    for other in others:
        state = LSTMState.zeros(other)
        for refused in (
            lambda state=state: step(parameters, np.ones(4), state),
            lambda state=state: setattr(Stream(parameters), "state", state),
            lambda state=state: Stream(parameters, start=state),
        ):
            with pytest.raises(InputError) as error:
                refused()
            assert str(error.value) == (
                f"got {state!r}; this LSTM has layers=1, h of 3, c of 3, float64: the state is another network's"
            )
    with pytest.raises(InputError, match=r"^the state is a tuple; expected an LSTMState: LSTMState.zeros"):
        step(parameters, np.ones(4), (np.ones((1, 1, 3)),) * 2)
    with pytest.raises(InputError, match=r"^the state is of 2 sequences, the stream of 1$"):
        Stream(parameters).state = LSTMState.zeros(parameters, 2)
    with pytest.raises(InputError, match=r"^start is of 2 sequences; give one, in which every sequence begins$"):
        Stream(parameters, 2, start=LSTMState.zeros(parameters, 2))


def test_sequences_that_are_not_there_are_refused():
    state = LSTMState.zeros(small(), 3)
    for sequences, text in [
        ([3], "cannot reset sequence 3; there are 3, counted from 0"),
        ([-4], "cannot reset sequence -4; there are 3, counted from 0"),
        (1, "cannot reset sequences=1; give a list of their numbers, or nothing for all"),
        ([True, False, False], "cannot reset sequences=[True, False, False]; give a list of their numbers, or nothing"),
        ([[1], [1, 2]], "cannot reset sequences=[[1], [1, 2]]; give a list of their numbers, or nothing for all"),
    ]:
        for refused in (lambda s=sequences: state.reset(s), lambda s=sequences: Stream(small(), 3).reset(s)):
            with pytest.raises(InputError) as error:
                refused()
            assert str(error.value).startswith(text)
    for sequences in (0, -1, 1.0, True):
        with pytest.raises(InputError, match=r"^sequences is .*; expected a whole number, at least 1$"):
            LSTMState.zeros(small(), sequences)


# --- states that do not live


def calls(parameters, xs, carry, **watch):
    """Step through xs; ``carry(k, given, returned)`` is what the next call is given. Warnings as they came."""
    seen, state = StateWatch(**watch), LSTMState.zeros(parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k, x in enumerate(xs):
            _, returned = step(parameters, x, state, watch=seen)
            state = carry(k, state, returned)
    assert all(one.category is StateWarning and one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


def test_a_state_that_is_reset_at_every_call_is_told_once():
    parameters = small()
    assert calls(parameters, random(60, 4), lambda k, given, returned: LSTMState.zeros(parameters)) == [
        "the state that was given was the same zeros in the last 20 calls (h of layer 0, c of layer 0), of which 19 or "
        "more returned another one that was not given to the next: is it reset at every call? Give each call the state "
        "that the last one returned"
    ]


def test_an_old_state_that_is_fed_back_at_every_call_is_told_once():
    parameters = small(num_layers=2)
    stale = calls(parameters, random(60, 4), lambda k, given, returned: returned if k < 5 else given)
    assert len(stale) == 1
    assert "was the same, bit for bit, in the last 20 calls (h of layer 0, h of layer 1, c of layer 0" in stale[0]
    assert "is it the old one fed back at every call?" in stale[0]


def test_steps_are_watched_too():
    parameters, watch = small(), StateWatch(patience=3)
    zeros = LSTMState.zeros(parameters)
    for _ in range(2):
        steps(parameters, np.ones((4, 4)), zeros, watch=watch)
    with pytest.warns(StateWarning, match="reset at every call") as caught:
        steps(parameters, np.ones((4, 4)), zeros, watch=watch)
    assert caught[0].filename == __file__


def test_one_part_that_does_not_live_is_named():
    parameters = small(num_layers=2)

    def without_c_of_the_second(k, given, returned):
        c = returned.c.copy()
        c[1] = 0
        return LSTMState(returned.h, c)

    (text,) = calls(parameters, random(30, 4), without_c_of_the_second)
    assert "the same zeros in the last 20 calls (c of layer 1)," in text


NEAR_MISSES = {
    "carried": lambda k, given, returned: returned,
    "new utterance every other call": lambda k, given, returned: returned if k % 2 else returned.reset(),
    "nineteen calls": lambda k, given, returned: given if k < 18 else returned,
    "one call in nineteen carries": lambda k, given, returned: returned if k % 19 == 18 else LSTMState.zeros(small()),
    "another state each time": lambda k, given, returned: LSTMState(returned.h * 0 + k + 1, returned.c * 0 - k - 1),
    "moved by one bit": lambda k, given, returned: LSTMState(np.nextafter(given.h, 1), np.nextafter(given.c, 1)),
}


@pytest.mark.parametrize("carry", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_are_not_told(carry):
    assert calls(small(), random(100, 4), carry) == []


def test_twenty_calls_are_told_where_nineteen_are_not():
    assert calls(small(), random(100, 4), lambda k, given, returned: given if k < 19 else returned)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_silence_is_not_told(dtype):
    """Digital silence brings the state to rest: from then on each call returns, bit for bit, what it was given."""
    torch.manual_seed(0)  # with some weights the last bit goes on trembling
    parameters = parameters_of(torch.nn.LSTM(4, 3, dtype=torch.float64)).astype(dtype)
    rest = []

    def carry(k, given, returned):
        rest.append(given == returned)
        return returned

    assert calls(parameters, np.zeros((600, 4)), carry) == []
    assert sum(rest) > 100  # it did come to rest


def test_a_paused_sequence_beside_a_live_one_is_not_told():
    parameters, watch = small(), StateWatch(patience=3)
    state = paused = random_state(parameters, 2)
    for x in random(10, 2, 4):
        _, new = step(parameters, x, state, watch=watch)
        h, c = new.h.copy(), new.c.copy()
        h[:, 1], c[:, 1] = paused.h[:, 1], paused.c[:, 1]
        state = LSTMState(h, c)
    assert not watch.warned


def watched(observations, patience=4):
    """What a watch says of (given, returned, x)."""
    watch = StateWatch(patience)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for before, after, x in observations:
            watch.observe(before, after, x=x)
    assert watch.warned == bool(caught)
    assert [one.filename for one in caught] in ([], [__file__])
    return [str(one.message) for one in caught]


def test_a_model_that_hands_out_its_old_state_is_told():
    state = np.ones((2, 1, 3), np.float32)
    assert watched([(state, state.copy(), k) for k in range(4)]) == [
        "the state that was returned is, bit for bit, the one that was given, in 4 calls with changing input: does the "
        "model hand out its new state, or the old one?"
    ]
    assert watched([(state, state.copy(), k) for k in range(3)]) == []
    assert watched([(state, state.copy(), 0) for k in range(9)]) == []  # the same input: it may be at rest
    assert watched([(state, state.copy(), None) for k in range(9)]) == []  # gates may hold
    moves = [(state * k, state * (k + (k % 3 == 2)), k) for k in range(30)]  # moves at every third call
    assert watched(moves) == []


def test_other_programs_states_are_watched_as_they_are():
    for make in (lambda k: np.full((2, 1, 3), k), lambda k: torch.full((2, 1, 3), float(k), dtype=torch.bfloat16)):
        text = "the state that was given was the same zeros in the last 4 calls (state of layer 0, state of layer 1)"
        (said,) = watched([(make(0), make(k + 1), None) for k in range(9)])
        assert said.startswith(text)
        assert watched([(make(k), make(k + 1), None) for k in range(9)]) == []
    (said,) = watched([((np.ones(3), np.full(3, k)), (np.ones(3) * k, np.full(3, k + 1)), None) for k in range(9)])
    assert "(h)" in said
    (said,) = watched([([0.0, k, k], [k + 1.0, k + 1, k + 1], None) for k in range(9)])
    assert "(state 0)" in said


def test_a_buffer_that_is_written_over_is_watched_too():
    buffer, watch = np.zeros(3), StateWatch(patience=3)
    for k in range(9):  # lives: what is given is the buffer, what is returned is copied into it
        watch.observe(buffer, new := buffer + k + 1)
        buffer[:] = new
    assert not watch.warned


def test_patience_is_a_number_of_calls():
    for patience in (1, 0, 2.5, "20"):
        with pytest.raises(InputError, match=r"^patience is .*; expected a whole number of calls, at least 2$"):
            StateWatch(patience)


# --- a stream that is reset at every call


def resets(stream, rounds, act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(rounds):
            act(stream, k)
    assert [one.filename for one in caught] in ([], [__file__])
    return [str(one.message) for one in caught]


def test_a_stream_that_is_reset_after_every_step_is_told_once():
    def act(stream, k):
        stream.reset()
        stream(np.ones(4))

    assert resets(Stream(small()), 60, act) == [
        "sequence 0 of this stream was reset after each of the last 20 time steps, so that nothing is remembered; "
        "reset once, at the start of a new sequence"
    ]
    assert resets(Stream(small()), 20, act) == []  # nineteen resets with a step before
    assert resets(Stream(small()), 21, act)


def test_one_sequence_of_several_that_is_reset_after_every_step_is_told():
    def act(stream, k):
        stream.reset([1])
        stream(np.ones((3, 4)))

    (text,) = resets(Stream(small(), 3), 30, act)
    assert text.startswith("sequence 1 of this stream")


def test_resets_that_belong_are_not_told():
    def after_two(stream, k):
        stream.reset()
        stream(np.ones((1, 4)))
        stream(np.ones((1, 4)))

    def whole_sequences(stream, k):
        stream.reset()
        stream.steps(np.ones((5, 4)))

    def only_resets(stream, k):
        stream.reset()

    def taking_turns(stream, k):
        stream.reset([k % 2])
        stream(np.ones((2, 4)))

    def one_step_in_twenty_more(stream, k):
        stream.reset()
        stream.steps(np.ones((1 + (k % 20 == 19), 4)))

    for act in (after_two, whole_sequences, only_resets, one_step_in_twenty_more):
        assert resets(Stream(small()), 100, act) == []
    assert resets(Stream(small(), 2), 100, taking_turns) == []
