"""PyTorch: state_dicts, TorchScript and exported programs, read without running them; live modules."""
