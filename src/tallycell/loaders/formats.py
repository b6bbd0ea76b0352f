"""Which format a file is of: what is inside decides, not the suffix."""

import os
import zipfile
from pathlib import Path

from tallycell.errors import FormatError
from tallycell.files import first_bytes
from tallycell.wording import one_line

# From the format to the module that reads it and its function, which takes the path and the options it names.
READERS = {
    "safetensors": ("safetensors_file", "load_safetensors", ()),
    "torch state_dict": ("torch.state_dict", "load_state_dict", ("trust_pickle",)),
    "TorchScript": ("torch.torchscript", "load_torchscript", ("trust_code",)),
    "torch.export": ("torch.exported_program", "load_torch_export", ("trust_code",)),
    "NumPy": ("numpy_file", "load_numpy", ("trust_pickle",)),
    "ONNX": ("onnx.file", "load_onnx", ()),
    "Keras": ("keras.file", "load_keras", ()),
    "TFLite": ("tflite.file", "load_tflite", ()),
    "JSON": ("json_file", "load_json", ()),
    "DyNet": ("dynet_file", "load_dynet", ()),
    "NeuralHydrology": ("neuralhydrology", "load_neuralhydrology", ()),
    "raw tensors": ("raw_tensors", "load_raw_tensors", ("forget_bias",)),
}


def recognise(path: Path) -> str:
    """Give the format of a file or folder, a key of ``READERS``.

    Raises
    ------
    FormatError
        If there is no such file, it is empty or cannot be opened, or it is of no format that is read.
    """
    if os.path.isdir(path):  # no error where a name is too long: opening it says so
        return "NeuralHydrology" if _is_run_folder(path) else "raw tensors"
    start = first_bytes(path, 16)
    is_text = b"\0" not in start  # the length in front of a safetensors header has zeros
    by_start = {
        "JSON": is_text and start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["),
        "safetensors": start[8:9] == b"{",  # behind the length of its header
        "DyNet": start.startswith((b"#Parameter#", b"#LookupParameter")),
        "Keras": start.startswith(b"\x89HDF"),
        "TFLite": start[4:8] == b"TFL3",
        "NumPy": start.startswith(b"\x93NUMPY"),
        "torch state_dict": start.startswith(b"\x80"),  # a pickle, as torch wrote before 1.6
    }
    for name, fits in by_start.items():
        if fits:
            return name
    if start.startswith(b"PK"):
        return _recognise_zip(path)
    # A protobuf has no signature; ONNX's begins with its ir_version, or with a text field where a tool reordered it.
    if path.suffix in (".onnx", ".ort") or start[:1] in (b"\x08", b"\x12", b":"):
        return "ONNX"
    raise FormatError(f"{path} is of no format that tallycell reads; those are {', '.join(READERS)}")


def _is_run_folder(folder: Path) -> bool:
    """Whether a folder has the config or the weights of a run of NeuralHydrology, and no raw tensors."""
    try:
        names = os.listdir(folder)
    except OSError:  # whoever reads it says why
        return False
    if "manifest.json" in names:
        return False
    return "config.yml" in names or any(name.startswith("model_epoch") and name.endswith(".pt") for name in names)


def _recognise_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # a damaged zip makes zipfile raise almost anything
        raise FormatError(f"{path} is a damaged zip: {one_line(error)}") from None
    inside = {name.partition("/")[2] for name in names}  # torch puts all in one folder
    if "model.weights.h5" in names:
        return "Keras"
    if any(name.endswith(".npy") for name in names):
        return "NumPy"
    # A file that is called weights.pt has a folder of that name: weights/ alone says nothing.
    if "serialized_exported_program.json" in names or any(name.startswith("data/weights/") for name in inside):
        return "torch.export"
    if "constants.pkl" in inside:
        return "TorchScript"
    return "torch state_dict"
