"""ONNX: LSTMs in and out, and the inputs that a real model gives them."""
