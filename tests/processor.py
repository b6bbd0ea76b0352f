"""What the processor at hand lacks, and other people's libraries need: their results are no measure of ours there."""

from pathlib import Path

import pytest


def needs_bfloat16_in_torch() -> None:
    """Skip where torch itself has no LSTM in bfloat16: oneDNN makes none without AVX-512."""
    import torch

    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError as error:
        pytest.skip(f"torch has no LSTM in bfloat16 on this processor: {str(error)[:80]}")


def needs_exact_int8_in_onnxruntime() -> None:
    """Skip where ONNX Runtime adds products of int8 in 16 bits, in which they saturate: processors without VNNI."""
    about = Path("/proc/cpuinfo")
    if about.exists() and "vnni" not in about.read_text():
        pytest.skip("ONNX Runtime's sums of int8 saturate on this processor, which has no VNNI")
