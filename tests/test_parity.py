"""The page of differences from other runtimes, and the runner that golden tests stand on."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parity import record_parity, run_lstm
from tallycell.parameters import LSTMParameters

torch = pytest.importorskip("torch")


def test_comparisons_are_kept_and_rendered_with_the_larger_difference(tmp_path, monkeypatch):
    lines = tmp_path / "parity.jsonl"
    monkeypatch.setenv("TALLYCELL_PARITY", str(lines))
    for model, difference in (("b", 1.5e-7), ("a", np.float32(2e-6)), ("b", 3e-7)):
        record_parity(model, "ONNX", "ONNX Runtime 1.31", difference)
    script = Path(__file__).parent / "parity.py"
    done = subprocess.run([sys.executable, script, "render", lines], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(
        "|---|---|---|---|\n| a | ONNX | ONNX Runtime 1.31 | 2.0e-06 |\n| b | ONNX | ONNX Runtime 1.31 | 3.0e-07 |\n"
    )
    failed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (1, "usage: python tests/parity.py render FILE\n")


def test_nothing_is_kept_unless_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("TALLYCELL_PARITY", raising=False)
    monkeypatch.chdir(tmp_path)
    record_parity("a", "ONNX", "ONNX Runtime", 0.0)
    assert not list(tmp_path.iterdir())


def test_the_runner_of_golden_tests_agrees_with_torch():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    x, h_0, c_0 = torch.randn(7, 3), torch.randn(4, 4), torch.randn(4, 4)
    ours = LSTMParameters({name: one.detach().numpy() for name, one in lstm.state_dict().items()})
    with torch.no_grad():
        for state in (None, (h_0, c_0)):
            theirs = lstm(x, state)[0].numpy()
            own = None if state is None else tuple(one.numpy() for one in state)
            np.testing.assert_allclose(run_lstm(ours, x.numpy(), own), theirs, atol=1e-6)
