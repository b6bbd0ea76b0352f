"""What the README shows is what the commands print."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tallycell.cli import main

README = Path(__file__).parents[1] / "README.md"
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def shown():
    """Excerpts of output in the README."""
    return re.findall(r"```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def numbers_in(line):
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]


def check_excerpt(excerpt, arguments, monkeypatch, capsys):
    """Assert that the command prints each line of an excerpt."""
    monkeypatch.setattr(sys, "argv", ["tallycell", "read", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    without_numbers = [NUMBER.sub("#", line) for line in printed]
    for line in excerpt.splitlines():
        places = [k for k, other in enumerate(without_numbers) if other == NUMBER.sub("#", line)]
        assert places, f"no such line is printed: {line}"
        # Another processor sums in another order: the last digit of a figure may differ by a little.
        said = numbers_in(line)
        found = [numbers_in(printed[k]) for k in places]
        assert any(said == pytest.approx(numbers, abs=0.02, rel=0.05) for numbers in found), (line, found)


@pytest.mark.parametrize(("arguments", "excerpt"), [((), 0), (("--unit", "0.27", "--rows", "1"), 1)])
def test_excerpts_are_what_the_command_prints(monkeypatch, capsys, arguments, excerpt):
    check_excerpt(shown()[excerpt], arguments, monkeypatch, capsys)


@pytest.mark.models
def test_excerpt_of_the_voice_detector_is_what_the_command_prints(monkeypatch, capsys, pypi_model):
    pytest.importorskip("onnxruntime")
    model = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.onnx"
    (command,) = re.findall(r"tallycell read silero_vad.onnx (.*)", README.read_text(encoding="utf-8"))
    monkeypatch.chdir(README.parent)
    check_excerpt(shown()[2], [model, *command.split()], monkeypatch, capsys)


def test_first_two_shell_blocks_install_run_and_test():
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == "pip install -c constraints.txt . && tallycell read\n"
    assert blocks[1] == "pip install -c constraints.txt -e '.[test]' && pytest -n auto\n"


def test_python_example_runs(tmp_path, monkeypatch):
    """The example as printed, on a model, an input and a quantity that it names but does not make."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = torch.nn.LSTM(32, 8)
    torch.save(module.state_dict(), "model.pt")
    names = {"x": torch.randn(50, 32), "snow": np.random.default_rng(0).normal(size=50), "torch": torch}
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, names)
    assert len(names["reading"].units) == 8
    h, _ = module(names["x"])
    np.testing.assert_allclose(names["trace"]["h"].isel(layer=0, direction=0, sequence=0), h.detach(), atol=1e-6)
    assert float(names["held"]["f"].sel(unit=3).min()) == 1
    assert names["gates"].f[1][0].shape == (50, 64)
