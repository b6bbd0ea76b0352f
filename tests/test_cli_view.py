"""``tallycell read --html`` and ``tallycell view``: a file that says its size first; a server that ends on Ctrl-C."""

import http.client
import re
import signal
import subprocess
import sys

import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell.cli.view_commands import find_trace
from tallycell.errors import InputError


@pytest.fixture
def counter(tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    (tmp_path / "s.txt").write_text("aaabbb" * 60, encoding="utf-8")
    return tmp_path / "anbn.safetensors", "--text", tmp_path / "s.txt"


@pytest.fixture
def trace(tmp_path, counter):
    pytest.importorskip("zarr")
    model = tc.load(counter[0])
    given = tc.open_text(model, "aaabbb" * 60)
    tc.save_trace(tc.record_trace(model, given), tmp_path / "traces" / "run.zarr")
    return tmp_path / "traces" / "run.zarr"


def test_a_page_is_written_beside_what_is_printed(run, tmp_path, counter):
    plain = run("read", *counter)
    status, out, err = run("read", *counter, "--html", tmp_path / "page.html")
    assert (status, out) == plain[:2]
    assert re.search(r"page\.html: [\d,.]+ (bytes|MB), every step of all \d+ units\n$", err)
    assert (tmp_path / "page.html").stat().st_size < 300_000


def test_json_stays_json_beside_a_page(run, tmp_path, counter):
    assert run("read", *counter, "--json", "--html", tmp_path / "page.html")[1] == run("read", *counter, "--json")[1]


def test_a_page_of_one_unit_is_refused(run, tmp_path, counter):
    status, out, err = run("read", *counter, "--unit", "0.0", "--html", tmp_path / "page.html")
    assert (status, out) == (2, "")
    assert "--html shows all units, and --unit one of them; give one of the two" in err


def test_a_place_that_takes_no_page_is_refused_first(run, tmp_path, counter):
    status, _, err = run("read", *counter, "--html", tmp_path / "nowhere" / "page.html")
    assert status == 2
    assert "there is no folder" in err


def serve(*arguments):
    code = "from tallycell.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "view", *map(str, arguments), "--no-open"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("what", ["model", "trace", "folder"])
def test_it_serves_until_it_is_interrupted(counter, trace, what):
    arguments = {"model": (*counter, "--no-effects"), "trace": (trace,), "folder": (trace.parent,)}[what]
    served = serve(*arguments)
    with served:
        address = served.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", address), served.stderr.read()
        assert served.stdout.readline() == "Ctrl-C ends it.\n"
        connection = http.client.HTTPConnection(address.split("/")[2], timeout=30)
        connection.request("GET", "/header", headers={"X-Tallycell-Token": address.split("=")[1]})
        answer = connection.getresponse()
        assert answer.status == 200
        assert (b'"can_hold": true' in answer.read()) == (what == "model")
        connection.close()
        served.send_signal(signal.SIGINT)
        _, err = served.communicate(timeout=60)
    assert served.returncode == 128 + signal.SIGINT
    assert "Traceback" not in err


def test_what_goes_with_a_model_is_refused_beside_a_trace(run, trace, tmp_path):
    status, _, err = run("view", trace, "--text", tmp_path / "s.txt", "--no-open")
    assert status == 2
    assert "--text goes with a model, and a trace was given; leave it out, or give the model" in err


def test_a_folder_of_several_traces_asks_for_one(tmp_path):
    for name in ("a.zarr", "b.zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"has several traces, 'a\.zarr', 'b\.zarr'; give one of them$"):
        find_trace(tmp_path)
    assert find_trace(tmp_path / "a.zarr") == tmp_path / "a.zarr"


def test_what_is_not_there_is_said(run, tmp_path):
    status, _, err = run("view", tmp_path / "no.safetensors", "--no-open")
    assert status == 2
    assert "there is no file" in err
