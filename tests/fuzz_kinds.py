"""The kinds of files that tallycell reads: how a small sound one is made, and what opens it."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fuzz_inputs as inputs
import fuzz_models as models
import fuzz_onnx as onnx
from fuzz_checks import Printed
from fuzz_models import open_inside, open_model
from fuzz_words import Names


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder.

    Attributes
    ----------
    file
        What a sound one is called.
    make
        Writes one at a path, with the names that it is given.
    open
        Opens one as tallycell's commands do, and gives what they print about it.
    library
        What making or opening it needs.
    format
        The key of ``tallycell.loaders.formats.READERS``, if it is a model.
    refusal
        What a sound one is refused with, if it is.
    parts
        Of a folder, the files in whose place something special may stand.
    share
        Of the damaged files, where one of this kind takes longer than others.
    """

    file: str
    make: Callable[[Path, Names], None]
    open: Callable[[Path], Printed]
    library: str
    format: str | None = None
    refusal: str | None = None
    parts: tuple[str, ...] = ()
    share: float = 1.0


CORE = "numpy"  # no library beyond those that tallycell always has
_A_PICKLE = "holds a pickle, and opening it would run code from the file"

KINDS = {
    "safetensors": Kind("m.safetensors", models.make_safetensors, open_model, CORE, "safetensors"),
    "own": Kind("own.safetensors", models.make_own, open_model, CORE, "safetensors"),
    "npz": Kind("m.npz", models.make_npz, open_model, CORE, "NumPy"),
    "npz of Keras": Kind("keras.npz", models.make_npz_of_keras, open_model, CORE, "NumPy"),
    "npy": Kind("m.npy", models.make_npy, models.open_pickle, CORE, "NumPy", refusal=_A_PICKLE),
    "JSON": Kind("m.json", models.make_json, open_model, CORE, "JSON"),
    "JSON layers": Kind("layers.json", models.make_json_layers, open_model, CORE, "JSON"),
    "JSON recogniser": Kind("net.json", models.make_json_recogniser, open_model, CORE, "JSON"),
    "DyNet": Kind("net.model", models.make_dynet, open_model, CORE, "DyNet"),
    "raw": Kind("raw", models.make_raw, open_model, CORE, "raw tensors", parts=("manifest.json", "vocab.json", "t0")),
    "NeuralHydrology": Kind(
        "run",
        models.make_run_folder,
        open_model,
        "torch",
        "NeuralHydrology",
        parts=("config.yml", "model_epoch030.pt", "train_data/train_data_scaler.yml"),
        share=0.5,
    ),
    "state_dict": Kind("m.pt", models.make_state_dict, open_model, "torch", "torch state_dict"),
    "old state_dict": Kind("old.pt", models.make_old_state_dict, open_model, "torch", "torch state_dict"),
    "TorchScript": Kind("script.pt", models.make_torchscript, open_model, "torch", "TorchScript"),
    "torch.export": Kind("m.pt2", models.make_torch_export, open_model, "torch", "torch.export"),
    "ONNX": Kind("m.onnx", onnx.make_onnx, open_model, "onnx", "ONNX"),
    "ONNX, branches": Kind("branches.onnx", onnx.make_branching_onnx, open_model, "onnx", "ONNX"),
    "ONNX, taken apart": Kind("apart.onnx", onnx.make_onnx_apart, open_model, "onnx", "ONNX"),
    "ONNX, data beside": Kind(
        "with_data", onnx.make_onnx_with_data, open_inside("model.onnx"), "onnx", parts=("model.onnx", "weights.bin")
    ),
    "Keras h5": Kind("m.h5", models.make_keras_h5, open_model, "h5py", "Keras"),
    "Keras": Kind("m.keras", models.make_keras, open_model, "h5py", "Keras"),
    "TFLite": Kind("m.tflite", models.make_tflite, open_model, "ai_edge_litert", "TFLite"),
    # ---- beside models
    "csv": Kind("x.csv", inputs.make_csv, inputs.open_array, CORE, share=0.15),
    "npy input": Kind("x.npy", inputs.make_array, inputs.open_array, CORE),
    "npz input": Kind("x.npz", inputs.make_arrays, inputs.open_array, CORE),
    "wav": Kind("x.wav", inputs.make_wav, inputs.open_wav, CORE),
    "text": Kind("x.txt", inputs.make_text, inputs.open_text, CORE, share=0.3),
    "vocabulary": Kind("v.txt", inputs.make_vocabulary, inputs.open_vocabulary, CORE),
    "vocabulary in JSON": Kind("v.json", inputs.make_vocabulary, inputs.open_vocabulary, CORE),
    "tokenizer": Kind("tokenizer.json", inputs.make_tokenizer, inputs.open_vocabulary, "tokenizers", share=0.5),
    "strings": Kind("strings.txt", inputs.make_strings, inputs.open_strings, CORE),
    "recogniser": Kind("net.safetensors", inputs.make_recogniser, inputs.open_recogniser, CORE, share=0.05),
    "machine": Kind("m.machine", inputs.make_notation, inputs.open_machine, CORE, share=0.6),
    "machine in JSON": Kind("machine.json", inputs.make_machine_in_json, inputs.open_machine, CORE, share=0.6),
    "results": Kind("results.jsonl", inputs.make_results, inputs.open_results, CORE, share=0.5),
    "checkpoint": Kind("checkpoint", inputs.make_checkpoint, inputs.open_checkpoint, "torch", share=0.2),
    "state": Kind("state.safetensors", inputs.make_state, inputs.open_state, CORE),
    "trace": Kind("trace", inputs.make_trace, inputs.open_trace, "zarr", share=0.1, parts=("zarr.json", "h/zarr.json")),
}
LIBRARIES = list(dict.fromkeys(kind.library for kind in KINDS.values()))


def is_installed(library: str) -> bool:
    """Whether kinds that need a library can be made here."""
    return importlib.util.find_spec(library) is not None
