"""Counter machines: written, run, extracted from LSTMs, compiled into them, checked against them."""
