"""The server of the page: to this machine only, and to whoever knows the token; it computes what Python computes."""

import http.client
import json
import struct
import threading
import time

import numpy as np
import pytest

import tallycell as tc
from browsing import dates_bundle, serving, text_bundle
from tallycell.effect.outputs import outputs
from tallycell.errors import InputError
from tallycell.view.scripts import read_static, static_names
from tallycell.view.server import LARGEST_WISH, Server, Site


@pytest.fixture(scope="module")
def made():
    return text_bundle(effects=False, steps=400)


@pytest.fixture(scope="module")
def server(made):
    bundle, model, given, _ = made
    with serving(bundle, model, given) as one:
        yield one


def ask(server, path, method="GET", body=None, **headers):
    """Ask, as a browser would that has the token; give status, headers and what is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    own = {"X-Tallycell-Token": server.site.token} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {name: value for name, value in own.items() if value is not None})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def hold(server, wish):
    origin = f"http://127.0.0.1:{server.server_port}"
    return ask(server, "/hold", "POST", wish if isinstance(wish, bytes) else json.dumps(wish), Origin=origin)


def test_the_page_and_its_programs_need_no_token_and_hold_no_data(server):
    status, headers, content = ask(server, "/", X_Tallycell_Token=None)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert server.site.token.encode() not in content
    for name in static_names():
        status, headers, content = ask(server, f"/static/{name}", X_Tallycell_Token=None)
        assert (status, content.decode()) == (200, read_static(name))


@pytest.mark.parametrize("path", ["/header", "/array/on", "/unit/0.1", "/unit/9.9"])
@pytest.mark.parametrize("token", [None, "", "wrong", "ü"])
def test_nothing_is_shown_without_the_token(server, path, token):
    status, _, content = ask(
        server, path, X_Tallycell_Token=token if token is None else token.encode("latin-1").decode("latin-1")
    )
    assert status == 403
    assert json.loads(content) == {"error": "the token is missing; open the whole address that tallycell view printed"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example"])
def test_it_answers_under_no_other_name(server, host):
    status, _, content = ask(server, "/header", Host=host)
    assert status == 403
    assert "answers under no other name" in json.loads(content)["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_it_answers_no_other_page(server, origin):
    assert ask(server, "/header", Origin=origin)[0] == 403
    assert ask(server, "/hold", "POST", "{}", Origin=origin)[0] == 403


def test_a_hold_needs_an_origin(server):
    status, _, content = ask(server, "/hold", "POST", json.dumps({"unit": "0.1", "gate": "c", "value": 0}))
    assert (status, json.loads(content)) == (403, {"error": "only the page itself may ask for that"})


def test_every_answer_forbids_what_it_does_not_need(server):
    for path in ("/", "/static/main.js", "/header", "/nothing"):
        headers = ask(server, path)[1]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_units_and_arrays_are_the_bundles(server, made):
    bundle = made[0]
    for name, array in bundle.arrays.items():
        assert ask(server, f"/array/{name}")[2] == array.tobytes()
    content = np.frombuffer(ask(server, "/unit/0.5")[2], "<f4")
    np.testing.assert_array_equal(content, np.concatenate(list(bundle.units["0.5"].values())))
    assert json.loads(ask(server, "/header")[2])["kept"] == list(bundle.units)


@pytest.mark.parametrize("path", [
    "/nothing", "/unit/9.9", "/unit/../../etc/passwd", "/static/../page.py", "/static/%2e%2e/page.py", "/array/",
    "/header/x", "//evil",
])  # fmt: skip
def test_what_is_not_there_is_said_as_json(server, path):
    status, headers, content = ask(server, path)
    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert json.loads(content)["error"].startswith("there is no ")


def test_held_it_is_what_record_trace_gives(server, made):
    _, model, given, trace = made
    status, _, content = hold(server, {"unit": "0.3", "gate": "f", "value": 0.25, "from": 100, "to": 150})
    assert status == 200
    (size,) = struct.unpack("<I", content[:4])
    said, numbers = json.loads(content[4 : 4 + size]), np.frombuffer(content[4 + size :], "<f4")
    held = tc.record_trace(model, given, hold=tc.Hold("f", 0.25, units=[3], steps=slice(100, 150)))
    own = held.isel(layer=0, direction=0, sequence=0, unit=3)
    for k, name in enumerate("ifgoc"):
        np.testing.assert_array_equal(numbers[400 * k : 400 * (k + 1)], own[name].to_numpy().astype(np.float32))
    before, after = outputs(model, trace).to_numpy()[0], outputs(model, held).to_numpy()[0]
    np.testing.assert_allclose(numbers[2001:], np.sqrt(np.mean((after - before) ** 2, axis=1)), atol=1e-5)
    changed = before.argmax(1) != after.argmax(1)
    assert f"changes at {changed[100:150].sum()} of the 50 steps that are held" in said["said"] or not changed.any()
    assert said["top"][0]["step"] == int(np.argmax(numbers[2001:]))


@pytest.mark.parametrize(("wish", "said"), [
    (b"{", "that is no JSON"), (b"[1]", "expected an object with unit, gate and value"),
    (b"[" * 5000, "that is no JSON: "), (b"\xff", "that is no JSON"),
    ({"unit": "0.99", "gate": "c", "value": 0}, "there is no unit '0.99' here"),
    ({"unit": ["0.1"], "gate": "c", "value": 0}, "there is no unit ['0.1'] here"),
    ({"unit": "0.1", "gate": "x", "value": 0}, "cannot hold 'x'; what can be held is i, f, g, o, c, h"),
    ({"unit": "0.1", "gate": "c"}, "cannot hold c at None; give a number, or 'mean'"),
    ({"unit": "0.1", "gate": "c", "value": True}, "cannot hold c at True"),
    (b'{"unit": "0.1", "gate": "c", "value": NaN}', "cannot hold c at nan"),
    ({"unit": "0.1", "gate": "c", "value": 10**400}, "cannot hold c at 1000"),
    ({"unit": "0.1", "gate": "c", "value": 0, "from": 0.5}, "steps go from 0.5 to 400; give two whole numbers"),
    ({"unit": "0.1", "gate": "c", "value": 0, "from": 5, "to": 5}, "there are 400 steps; none from 5 to 5"),
    ({"unit": "0.1", "gate": "c", "value": "mean", "from": 5, "to": 9}, "at its mean a gate is held at all steps"),
])  # fmt: skip
def test_a_wish_that_is_none_is_refused_in_words(server, wish, said):
    status, _, content = hold(server, wish)
    assert status == 400
    assert json.loads(content)["error"].startswith(said)


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", str(LARGEST_WISH + 1)])
def test_a_wish_that_is_too_long_is_not_read(server, length):
    status, _, content = ask(server, "/hold", "POST", b"", Content_Length=length)
    assert status == 413
    assert "at most 10,000 bytes" in json.loads(content)["error"]


def test_a_mistake_of_ours_is_answered_and_said_in_the_terminal(server, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(type(server.site.holding), "hold", fail)
    status, _, content = hold(server, {"unit": "0.1", "gate": "c", "value": 0})
    assert (status, json.loads(content)["error"]) == (500, "that is a mistake in tallycell; the terminal says more")
    assert ask(server, "/header")[0] == 200
    said = ""
    for _ in range(500):  # it is said behind the answer, in a thread of its own
        said += capsys.readouterr().err
        if "of ours" in said:
            break
        time.sleep(0.01)
    assert "ZeroDivisionError: of ours" in said


def test_a_browser_that_goes_is_not_worth_a_word(server, capsys):
    try:
        raise ConnectionResetError
    except ConnectionError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert capsys.readouterr().err == ""


def test_one_hold_at_a_time(server):
    with server.site.computing:
        status, _, content = hold(server, {"unit": "0.1", "gate": "c", "value": 0})
    assert (status, json.loads(content)["error"]) == (409, "another hold is being computed; ask again when it is done")


def test_of_a_trace_nothing_is_held():
    with serving(dates_bundle(300)) as server:
        assert hold(server, {"unit": "0.1", "gate": "c", "value": 0})[0] == 404
        assert json.loads(ask(server, "/header")[2])["can_hold"] is False


def test_a_port_that_is_taken_is_an_error(server, made):
    with pytest.raises(InputError, match=rf"^cannot serve on port {server.server_port}: .*; give another with --port$"):
        Server(Site(made[0]), server.server_port)


def test_tokens_differ_and_are_long(made):
    tokens = {Site(made[0]).token for _ in range(5)}
    assert len(tokens) == 5
    assert min(map(len, tokens)) >= 32


def test_many_ask_at_once(server):
    answers = []
    threads = [threading.Thread(target=lambda k=k: answers.append(ask(server, f"/unit/0.{k}")[0])) for k in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == [200] * 12
