"""What golden tests share: running an LSTM, and writing down the differences from other people's runtimes.

The differences are rendered to a page of the documentation::

    TALLYCELL_PARITY=parity.jsonl pytest tests
    python tests/parity.py render parity.jsonl > docs/parity.md
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from tallycell.kernels import reference
from tallycell.kernels.interface import LayerInput
from tallycell.parameters import LSTMParameters

HEADING = """# Parity

How far the hidden states that tallycell computes are from those of the runtime that each model was made for, on the
same input. What is left is float32 arithmetic in another order; only where a row says *dequantised* it is more: there
the runtime also rounds x and h to 8 bits at every step, and tallycell leaves that out unless it is asked for.

The tests write this table:

```sh
TALLYCELL_PARITY=parity.jsonl pytest tests
python tests/parity.py render parity.jsonl > docs/parity.md
```

| model | format | runtime | largest difference of h |
|---|---|---|---|
"""


def run_lstm(
    parameters: LSTMParameters, x: np.ndarray, state: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """h of the last layer at every step, directions side by side, by the equations alone.

    x is (time, feature); the state h_0 and c_0, (layer * direction, hidden), zeros if None.
    """
    p, y = parameters, np.asarray(x, parameters.dtype)[:, None]
    states = p.num_layers * p.num_directions
    zeros = np.zeros((states, p.output_size)), np.zeros((states, p.hidden_size))
    h_0, c_0 = (np.asarray(one, p.dtype) for one in (state or zeros))
    for layer in range(p.num_layers):
        directions = []
        for direction in range(p.num_directions):
            k = layer * p.num_directions + direction
            read = LayerInput(y, h_0[k : k + 1], c_0[k : k + 1], None, reverse=direction == 1)
            directions.append(reference.lstm_forward(p.layer(layer, direction), read).h)
        y = np.concatenate(directions, axis=-1)
    return y[:, 0]


def record_parity(model: str, format: str, runtime: str, difference: float) -> None:
    """Add one comparison to the JSON-lines file that TALLYCELL_PARITY names; nothing without it.

    ``difference`` is the largest absolute difference of h (or of what the test says it compares) from the runtime.
    """
    target = os.environ.get("TALLYCELL_PARITY")
    if target:
        line = {"model": model, "format": format, "runtime": runtime, "difference": float(difference)}
        with open(target, "a", encoding="utf-8") as file:  # one write a line: several workers may append
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def render(lines: str) -> str:
    """Markdown page of the comparisons; where one was made twice the larger difference counts."""
    found: dict[tuple[str, str, str], float] = {}
    for line in filter(None, lines.splitlines()):
        row = json.loads(line)
        key = (row["format"], row["model"], row["runtime"])
        found[key] = max(found.get(key, 0.0), row["difference"])
    rows = (
        f"| {model} | {format} | {runtime} | {difference:.1e} |"
        for (format, model, runtime), difference in sorted(found.items())
    )
    return HEADING + "\n".join(rows) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "render":
        sys.exit("usage: python tests/parity.py render FILE")
    sys.stdout.write(render(Path(sys.argv[2]).read_text(encoding="utf-8")))
