"""A bundle and the page that carries it: what is packed comes back, what does not fit is said, no name can run."""

import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest

import tallycell as tc
from browsing import HOSTILE, dates_bundle, network, text_bundle
from tallycell.effect.outputs import outputs
from tallycell.errors import InputError
from tallycell.view import Frame, bundle_of, page_of
from tallycell.view.lives import COLUMNS, Lives, look_at_all
from tallycell.view.packing import packed_life, unpacked


@pytest.fixture(scope="module")
def made():
    return text_bundle(("(", ")", " ", "\n", *HOSTILE))


def header_of(page):
    return json.loads(re.search(r'id="header">(.*?)</script>', page.html, re.DOTALL)[1])


def array_of(page, name):
    text = re.search(rf'id="array:{re.escape(name)}">([^<]*)<', page.html)[1]
    return base64.b64decode(text)


# ---- what is in it ---------------------------------------------------------------------------------------------------


def test_a_unit_is_its_trace_in_single_precision(made):
    bundle, _, _, trace = made
    for label in ("0.0", "0.7"):
        here = trace.isel(layer=0, direction=0, sequence=0, unit=int(label[2:]))
        for name in "ifgoc":
            np.testing.assert_array_equal(bundle.units[label][name], here[name].to_numpy().astype(np.float32))


def test_sequences_stand_end_to_end_without_padding():
    x = np.random.default_rng(0).normal(size=(300, 3, 3))
    trace = tc.record_trace(network().parameters, x, lengths=[300, 120, 1])
    bundle = bundle_of(trace, tc.read_units(trace))
    assert bundle.start.tolist() == [0, 300, 420, 421]
    expected = np.concatenate(
        [trace.c.isel(layer=0, direction=0, unit=2, sequence=s)[:n] for s, n in enumerate((300, 120, 1))]
    )
    np.testing.assert_array_equal(bundle.units["0.2"]["c"], expected.astype(np.float32))
    assert not any(np.isnan(array).any() for array in bundle.units["0.2"].values())


def test_what_the_model_says_is_what_outputs_gives(made):
    bundle, model, _, trace = made
    said = outputs(model, trace).to_numpy()[0]
    np.testing.assert_array_equal(bundle.arrays["said/output"], np.argsort(-said, axis=1, kind="stable"))
    np.testing.assert_allclose(bundle.arrays["said/logit"], -np.sort(-said, axis=1), rtol=1e-6)


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (2, False)])
def test_weights_times_what_is_shown_are_the_outputs(layers, bidirectional):
    bundle, model, _, trace = text_bundle(("a", "b"), 300, effects=False, layers=layers, bidirectional=bidirectional)
    shown = np.stack([arrays["o"] * np.tanh(arrays["c"]) for arrays in bundle.units.values()])
    logits = bundle.arrays["head/weight"] @ shown + bundle.arrays["head/bias"][:, np.newaxis]
    np.testing.assert_allclose(logits.T, outputs(model, trace).to_numpy()[0], rtol=1e-4, atol=1e-4)


def test_of_many_outputs_the_foremost_are_kept():
    model, x = network(), np.eye(3)[np.random.default_rng(0).integers(3, size=300)]
    many = tc.Recogniser(
        model.alphabet, model.inputs, model.parameters, np.random.default_rng(1).normal(size=(40, 12)), np.zeros(40),
        tuple(f"word {k}" for k in range(40)),
    )  # fmt: skip
    trace = tc.record_trace(many, x)
    bundle = bundle_of(trace, tc.read_units(trace), model=many)
    said = outputs(many, trace).to_numpy()[0]
    assert bundle.arrays["said/output"].shape == (300, 3)
    np.testing.assert_array_equal(bundle.arrays["said/output"][:, 0], said.argmax(1))


def test_without_all_of_h_in_order_the_model_says_nothing(made):
    _, model, given, trace = made
    some = trace.isel(unit=[0, 3])
    assert bundle_of(some, tc.read_units(some, given), given, model=model).header["head"] is None
    turned = trace.isel(unit=slice(None, None, -1))
    assert bundle_of(turned, tc.read_units(turned, given), given, model=model).header["head"] is None
    assert bundle_of(trace, tc.read_units(trace, given), given).header["head"] is None


def test_an_activation_that_the_page_does_not_know_is_stored():
    weights = network().parameters.weights
    slots = tc.Activations(hidden=tc.activation("softsign"))
    trace = tc.record_trace(
        tc.LSTMParameters(dict(weights), activations=(slots,)), np.random.default_rng(0).normal(size=(300, 3))
    )
    arrays = bundle_of(trace, tc.read_units(trace)).units["0.1"]
    np.testing.assert_allclose(arrays["y"], arrays["c"] / (1 + np.abs(arrays["c"])), rtol=1e-6)


def test_the_overview_is_the_mean_of_a_column(made):
    trace = made[3]
    coarse = look_at_all(Lives(tc.trace.schema.whole(trace)))
    assert coarse.overview.shape == (12, min(700, COLUMNS))
    c = trace.c.isel(layer=0, direction=0, sequence=0).to_numpy()
    expected = np.clip(c / np.quantile(np.abs(c), 0.98, axis=0), -1, 1).T
    np.testing.assert_allclose((coarse.overview.astype(float) - 128) / 127, expected, atol=0.005)


def test_a_reading_of_other_units_is_refused(made):
    _, _, given, trace = made
    with pytest.raises(
        InputError, match=r"^the reading is of the units '0\.0', .* and the trace has '0\.3'; give the trace"
    ):
        bundle_of(trace.isel(unit=[3]), tc.read_units(trace, given), given)


def test_dates_features_and_quantities_are_beside():
    bundle = dates_bundle(400)
    assert bundle.header["time"] == "date"
    assert [one["name"] for one in bundle.header["series"]] == ["snow", "rain", "tmax", "<b>vp</b>"]
    assert [one["name"] for one in bundle.header["sequences"]] == ["Marsh Creek", "<i>River</i>"]
    assert bundle.arrays["time"][[0, 1, 400]].tolist() == [978307200000.0, 978393600000.0, 978307200000.0]


# ---- packing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 63, 100])
def test_a_packed_life_comes_back_to_the_last_bit(reverse, steps):
    rng = np.random.default_rng(steps)
    arrays = {name: rng.normal(size=2 * steps).astype("<f4") for name in "ifgoc"}
    arrays["c"][0], arrays["f"][: 2 * steps : 2] = np.inf, 0.0
    arrays["c_0"] = rng.normal(size=2).astype("<f4")
    start = np.array([0, steps, 2 * steps])
    bits = unpacked(packed_life(arrays, start, reverse=reverse), "<u4", (-1,)).copy()
    own = dict(zip("ifgoc", bits[: 10 * steps].reshape(5, -1), strict=True))
    for name in "ifgo":
        np.testing.assert_array_equal(own[name].view("<f4"), arrays[name])
    np.testing.assert_array_equal(bits[10 * steps :].view("<f4"), arrays["c_0"])
    for s in range(2):  # as the page does it, in the order of reading
        before = arrays["c_0"][s]
        order = range(start[s], start[s + 1])
        for t in reversed(order) if reverse else order:
            with np.errstate(invalid="ignore", over="ignore"):
                expected = np.float32(arrays["f"][t] * before) + np.float32(arrays["i"][t] * arrays["g"][t])
                expected = np.float32(0) if np.isnan(expected) else np.float32(expected)
                before = (expected.view("<u4") + own["c"][t]).astype("<u4").view("<f4")
            assert before == arrays["c"][t]


def test_cells_that_count_take_hardly_any_room(made):
    arrays = dict(made[0].units["0.3"])
    with_c = len(packed_life(arrays, made[0].start, reverse=False))
    arrays["c"] = np.random.default_rng(0).normal(size=700).astype("<f4")
    assert with_c < 0.86 * len(packed_life(arrays, made[0].start, reverse=False))


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_policy_names_what_runs_by_its_hash_and_nothing_else(made):
    page = page_of(made[0])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.html)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert not {"connect-src", "frame-src", "font-src"} & rules.keys()
    assert page.html.index("Content-Security-Policy") < page.html.index("<script")


def test_no_name_ends_or_begins_an_element(made):
    page = page_of(made[0])
    arrays = page.html.count('type="text/plain"')
    assert page.html.count("</script>") == page.html.count("<script") == arrays + 2
    assert "<img" not in page.html.replace("&lt;", "")
    header = header_of(page)
    assert header["about"][0].startswith("</script><script>document.title")
    assert max(map(len, header["symbols"]["shown"])) < 40
    assert "\\u202egnol" in header["symbols"]["shown"]


def test_what_does_not_fit_is_left_out_and_said(made):
    whole = page_of(made[0])
    assert whole.kept == whole.units == 12
    assert re.fullmatch(r"[\d,.]+ (bytes|MB), every step of all 12 units", whole.said())
    small = page_of(made[0], whole.size - 40_000)
    assert 0 < small.kept < 12
    assert small.size < whole.size - 40_000
    assert small.said().endswith(f"every step of the {small.kept} units of 12 that matter or read best")
    kept = header_of(small)["kept"]
    assert kept == re.findall(r'id="array:unit/([^"]+)"', small.html)
    assert {made[0].header["best"][0], made[0].header["effects"]["most"][0]} <= set(kept)


def test_arrays_in_the_page_are_those_of_the_bundle(made):
    page = page_of(made[0])
    for about in header_of(page)["arrays"]:
        found = unpacked(array_of(page, about["name"]), about["dtype"], tuple(about["shape"]))
        np.testing.assert_array_equal(found, made[0].arrays[about["name"]])


def test_the_header_is_strict_json_with_a_version(made):
    header = header_of(page_of(made[0]))
    assert (header["format"], header["version"]) == ("tallycell bundle", 1)
    json.dumps(header, allow_nan=False)


def test_a_reading_writes_itself_and_shows_itself_in_a_notebook(tmp_path, made):
    bundle, model, given, trace = made
    reading = tc.read_units(trace, given)
    reading.to_html(trace, tmp_path / "page.html", given, model=model)
    assert "tallycell bundle" in (tmp_path / "page.html").read_text(encoding="utf-8")
    frame = reading.view(trace, given, height=500)
    assert isinstance(frame, Frame)
    shown = frame._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == frame.page.html
    assert repr(frame).startswith("Frame(Page(")
    assert repr(bundle).startswith("Bundle(12 units over 700 steps; ")


def test_a_place_that_takes_no_file_is_refused_before_anything_is_made(tmp_path, made):
    _, _, given, trace = made
    reading = tc.read_units(trace, given)
    with pytest.raises(InputError, match=r"^cannot write .*nowhere/page\.html: there is no folder"):
        reading.to_html(None, tmp_path / "nowhere" / "page.html")
