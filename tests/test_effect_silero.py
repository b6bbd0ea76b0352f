"""What the units of silero-vad are for: the probability of speech, which relu and a linear layer make of h."""

from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.effect.counterfactual import counterfactual_units
from tallycell.kernels.hold import Hold
from tallycell.loaders.onnx.held import run_with_holds
from tallycell.opening import read_wav
from tallycell.opening.front_end import Cutting, plan_front_end

pytestmark = pytest.mark.models

SOUND = Path(__file__).parent / "data" / "demo-abouttotry.wav"


@pytest.fixture(scope="module")
def path(pypi_model):
    return pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.onnx"


@pytest.fixture(scope="module")
def model(path):
    return tc.load(path)


@pytest.fixture(scope="module")
def given(model):
    return tc.open_audio(model, SOUND)


def logit(probability):
    return np.log(probability) - np.log1p(-probability)


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_the_account_of_the_probability_of_speech_is_complete(model, rate):
    given = tc.open_audio(model, SOUND, rate=rate)
    own = np.ravel(given.quantities["model output"]).astype(np.float64)
    for step in (0, 57, 200, -1):
        account = tc.explain_output(model, given, step, 0)
        parts = float(account.entries.sum()) + float(account.initial.sum()) + account.bias
        assert abs(parts - account.output) <= 1e-5  # float32
        assert abs(1 / (1 + np.exp(-parts)) - own[step]) <= 1e-5


def test_a_unit_has_its_weight_times_what_relu_shows(model, given):
    account, h = tc.explain_output(model, given, 100, 0), tc.record_trace(model, given).h.values[0, 0, 0, 100]
    theirs = model.head_of(given.lstm).weight[0] * np.maximum(h, 0)
    assert np.abs(account.by_unit().values[0, 0] - theirs).max() <= 1e-5  # float32


def held_in_the_file(path, unit):
    front_end = plan_front_end(path, Cutting())
    calls = list(front_end.feeds(read_wav(SOUND).at_rate(16_000).samples))
    run = run_with_holds(path, calls, Hold("c", 0.0, units=[unit]), carry=front_end.carry)
    return run.outputs["output"].ravel().astype(np.float64)


@pytest.mark.parametrize("unit", [120, 85])
def test_effects_are_those_of_the_file_with_the_unit_held(path, model, given, unit):
    free, held = np.ravel(given.quantities["model output"]).astype(np.float64), held_in_the_file(path, unit)
    effects = tc.measure_effects(model, given, kinds=["zero"], units=[f"0.{unit}"])
    bits = free * np.log2(free / held) + (1 - free) * np.log2((1 - free) / (1 - held))
    # The file is float32: probabilities near 1 end after seven digits, and their logits after three.
    assert float(effects.loss.values.squeeze()) == pytest.approx(bits.mean(), rel=1e-3)
    chance = tc.measure_effects(model, given, "probability", targets=0, kinds=["zero"], units=[f"0.{unit}"])
    assert float(chance.loss.values.squeeze()) == pytest.approx((free - held).mean(), rel=1e-3)
    change = counterfactual_units(model, given, 100, 0, [unit])
    assert float(change.squeeze()) == pytest.approx(logit(held[100]) - logit(free[100]), abs=1e-3)


def test_only_what_is_shown_is_said_to_push(model, given):
    effects = tc.measure_effects(model, given, kinds=["zero"], units=["0.120", "0.85"])
    assert (tc.record_trace(model, given).h.sel(unit=120) <= 1e-3).all()  # relu hides it
    assert effects.of("0.120").say_push() == ""
    assert effects.of("0.85").say_push() == "shown, it raises the output"
