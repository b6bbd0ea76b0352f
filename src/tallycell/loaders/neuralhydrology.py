"""Run folders of NeuralHydrology: the newest weights that a run kept, what they read, and how it was scaled.

A run folder holds ``config.yml``, ``model_epochNNN.pt`` for each epoch that was kept, and, in ``train_data``, the
center and spread of all that was scaled (``train_data_scaler.yml``; in old runs a pickle, which stays closed).

At each step the LSTM reads the dynamic inputs in the order of the config, then the static and the HydroATLAS
attributes, together in alphabetical order, then the evolving attributes in the order of the config (source: classes
``BaseDataset`` and ``InputLayer`` of NeuralHydrology 1.10). Where the config says that something stands between the
inputs and the LSTM, or beside them, what it reads has no names.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tallycell.errors import FormatError, InputError
from tallycell.files import require_file
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.loaders.telling import told
from tallycell.loaders.torch.objects import stored_tensors
from tallycell.loaders.torch.weights import read_weights_only
from tallycell.loaders.torch_names import read_torch_names
from tallycell.loaders.yaml_file import read_yaml_mapping
from tallycell.scaling import Scaling
from tallycell.wording import listed, one_line, quoted

CONFIG = "config.yml"
SCALER = "train_data/train_data_scaler.yml"
_EPOCH = re.compile(r"model_epoch([0-9]{1,9})\.pt")
# Models whose LSTM reads the inputs as the module's docstring says; the others arrange them in their own ways.
_PLAIN = ("cudalstm", "customlstm", "lstm", "embcudalstm")
_REFUSED = {
    "ealstm": "whose input gate is computed once, from the static attributes; that is another cell than an LSTM",
    "mclstm": "which moves mass between its cells; that is another cell than an LSTM",
}
# What stands between the inputs and the LSTM, or beside them, by the key of the config that says so.
_BETWEEN = {
    "statics_embedding": "the static attributes go through a network of their own first",
    "dynamics_embedding": "the dynamic inputs go through a network of their own first",
    "nan_handling_method": "gaps in the inputs are filled by a layer in front",
    "use_basin_id_encoding": "a code of the basin stands among them",
    "autoregressive_inputs": "the model's own last outputs stand among them",
}
_OF_A_CELL = re.compile(r"(?P<path>(?:.*\.)?)(?P<kind>[wb])_(?P<part>ih|hh)", re.S)  # CustomLSTM's names
_HEADS = {"relu": "relu", "softplus": "softplus"}
_STEPS = {"hourly_camels_us": "1h"} | dict.fromkeys(
    ("camels_aus", "camels_br", "camels_cl", "camels_de", "camels_gb", "camels_us", "caravan"), "1D"
)
_FREQUENCY = re.compile(r"(?P<number>[1-9][0-9]{0,3})?(?P<unit>[A-Za-z]{1,3})")
_UNITS = {"D": "D", "d": "D", "H": "h", "h": "h", "T": "min", "min": "min"}


def load_neuralhydrology(folder: Path) -> LoadedModel:
    r"""Read the LSTM of a run folder, with the names of its inputs and their scaling.

    Parameters
    ----------
    folder
        Where ``config.yml`` lies.

    Returns
    -------
    LoadedModel
        Of the newest epoch. ``features`` and ``static`` name what the LSTM reads, ``scaling`` has center and spread of
        each (and of the targets), ``step`` the length of a time step where the config tells. What is not known is
        None, and ``notes`` say why.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    FormatError
        If a part is missing or damaged, parts do not fit together, or the model is no LSTM (EA-LSTM, MC-LSTM).
    ParameterError
        If the weights do not make an LSTM.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as name:
    ...     config = "model: cudalstm\ndynamic_inputs: [rain]\nstatic_attributes: [slope, area]"
    ...     _ = Path(name, "config.yml").write_text(config)
    ...     torch.save(torch.nn.LSTM(3, 2).state_dict(prefix="lstm."), Path(name, "model_epoch030.pt"))
    ...     load_neuralhydrology(Path(name)).features
    ('rain', 'area', 'slope')
    """
    config = _Config(folder / CONFIG)
    if config.model in _REFUSED:
        raise FormatError(f"{folder} is a run of the model {config.model}, {_REFUSED[config.model]}, and is not read")
    weights = _newest(folder)
    require_file(weights)
    state = read_weights_only(weights)
    if not isinstance(state, Mapping):
        raise FormatError(f"{weights} holds a {type(state).__name__}, expected a state_dict")
    tensors = {_in_torchs_words(name): tensor for name, tensor in stored_tensors(state).items()}
    loaded = read_torch_names(tensors, weights, ordered=True)
    features = static = None
    notes = []
    if reason := config.reason_against_names(len(loaded)):
        notes.append(f"what the LSTM reads has no names: {reason}")
    else:
        features, static = config.features(loaded.lstm.input_size)
    scaling, missing = _scaling(folder, features)
    return replace(
        loaded,
        source=folder,
        embedding=None,  # NeuralHydrology has none of symbols
        head=config.head(loaded.head),
        features=features,
        static=static or (),
        scaling=scaling,
        step=config.step,
        notes=(*notes, *missing),
    )


def _newest(folder: Path) -> Path:
    epochs = ((int(found[1]), name) for name in os.listdir(folder) if (found := _EPOCH.fullmatch(name)))
    newest = max(epochs, default=None)
    if newest is None:
        raise FormatError(
            f"{folder} is a run folder of NeuralHydrology without weights; put a model_epochNNN.pt of the run into it"
        )
    return folder / newest[1]


def _in_torchs_words(name: str) -> str:
    """Give the name that ``torch.nn.LSTMCell`` would have for a weight of CustomLSTM's: ``cell.w_ih``."""
    found = _OF_A_CELL.fullmatch(name)
    kinds = {"w": "weight", "b": "bias"}
    return f"{found['path']}{kinds[found['kind']]}_{found['part']}" if found else name


class _Config:
    """The config of a run, read key by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stated = read_yaml_mapping(path, what="the config.yml of a run of NeuralHydrology")
        model = self._stated.get("model")
        if not isinstance(model, str):
            raise FormatError(f"{path} has {told(model)} as its model; expected its name, such as model: cudalstm")
        self.model = model.lower()

    def reason_against_names(self, lstms: int) -> str:
        """Say why it is not known what the numbers that an LSTM of the run reads are; nothing where it is."""
        if self.model not in _PLAIN:
            return f"the model {quoted(self.model)} arranges its inputs in its own way"
        if lstms != 1:
            return f"the run has {lstms} LSTMs"
        if len(self._by_frequency()) > 1:
            return "the run has inputs of several frequencies"
        if self.model == "embcudalstm" and self._stated.get("embedding_hiddens"):
            return "the attributes go through a network of their own first"
        if str(self._stated.get("head", "")).lower() == "umal":
            return "a number that the head draws stands among them"
        return next((reason for key, reason in _BETWEEN.items() if self._stated.get(key)), "")

    def features(self, width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the names of all that the LSTM reads, and of those among them that do not change with time.

        Raises
        ------
        FormatError
            If the config names no inputs, or another number of them than the LSTM reads.
        """
        (dynamic,) = self._by_frequency().values()
        if not dynamic:
            raise FormatError(f"{self.path} names no dynamic_inputs; expected the columns that the run was trained on")
        # Older versions called the attributes otherwise.
        static = [name for key in ("static_attributes", "camels_attributes", "hydroatlas_attributes")
                  for name in self._names(key, self._stated.get(key))]  # fmt: skip
        evolving = [name for key in ("evolving_attributes", "static_inputs")
                    for name in self._names(key, self._stated.get(key))]  # fmt: skip
        features = (*dynamic, *sorted(static), *evolving)
        if len(features) != width:
            raise FormatError(
                f"{self.path} names {len(features)} inputs ({listed(features)}) and the LSTM reads {width}; expected "
                "the config of the run that wrote the weights"
            )
        return features, tuple(sorted(static))

    @property
    def step(self) -> str | None:
        """Length of a time step, as pandas writes it."""
        stated = self._stated.get("use_frequencies") or [name for name in self._by_frequency() if name]
        frequencies = [stated] if isinstance(stated, str) else stated
        if not frequencies:
            dataset = self._stated.get("dataset")
            return _STEPS.get(dataset.lower()) if isinstance(dataset, str) else None
        only = frequencies[0] if isinstance(frequencies, list) and len(frequencies) == 1 else None
        found = _FREQUENCY.fullmatch(only) if isinstance(only, str) else None
        unit = _UNITS.get(found["unit"]) if found else None
        return f"{found['number'] or 1}{unit}" if found and unit else None

    def head(self, found: Head | None) -> Head | None:
        """Give the linear layer of a regression with its activation; None for other heads."""
        if found is None or str(self._stated.get("head", "regression")).lower() != "regression":
            return None
        return replace(found, activation=_HEADS.get(str(self._stated.get("output_activation")).lower()))

    def _by_frequency(self) -> dict[str, list[str]]:
        """Give the dynamic inputs by frequency; under an empty name where the config has one list of them."""
        stated = self._stated.get("dynamic_inputs")
        if isinstance(stated, dict):
            return {str(name): self._names("dynamic_inputs", names) for name, names in stated.items()} or {"": []}
        return {"": self._names("dynamic_inputs", stated)}

    def _names(self, key: str, stated: Any) -> list[str]:
        """Give a list of names; of a list of groups, the names of all groups."""
        items = [] if stated is None else stated if isinstance(stated, list) else [stated]
        names = [name for one in items for name in (one if isinstance(one, list) else [one])]
        for name in names:
            if not isinstance(name, str):
                raise FormatError(f"{self.path} has {told(name)} among its {key}; expected names of columns")
        return names


# ---- scaling


def _scaling(folder: Path, features: tuple[str, ...] | None) -> tuple[Scaling | None, tuple[str, ...]]:
    """Give the scaling of a run, or why it is not known."""
    path = folder / SCALER
    if not os.path.lexists(path):
        pickled = path.with_suffix(".p")
        reason = f"there is no {SCALER}"
        if os.path.lexists(pickled):
            reason = f"{pickled.name} is a pickle, and opening it would run code from the file; it stays closed"
        return None, (f"how the inputs were scaled is not known: {reason}",)
    stated = read_yaml_mapping(path, what="the train_data_scaler.yml of a run of NeuralHydrology")
    center, spread = numbers_of_scaler(stated, path)
    known = center.keys() & spread.keys()
    if missing := [name for name in features or () if name not in known]:
        raise FormatError(
            f"{path} has no center and scale for {listed(missing)}, which the config names; expected the scaler that "
            f"the run wrote, it has them for {listed(sorted(known))}"
        )
    names = [*(features or ()), *(name for name in center if name in known and name not in (features or ()))]
    try:
        return Scaling({name: center[name] for name in names}, {name: spread[name] for name in names}), ()
    except InputError as error:
        raise FormatError(f"{path}: {one_line(error)}") from None


def is_scaler(stated: Mapping[Any, Any]) -> bool:
    """Whether a mapping is one that NeuralHydrology writes of its scaling."""
    return any(key in stated for key in ("xarray_feature_center", "xarray_means"))


def numbers_of_scaler(stated: Mapping[Any, Any], path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Give center and spread by name, of series and of static attributes, from what NeuralHydrology wrote.

    Raises
    ------
    FormatError
        If something else stands where it has numbers.
    """
    return (
        _numbers(stated, path, ("attribute_means", "camels_attr_means"), ("xarray_feature_center", "xarray_means")),
        _numbers(stated, path, ("attribute_stds", "camels_attr_stds"), ("xarray_feature_scale", "xarray_stds")),
    )


def _numbers(
    stated: Mapping[Any, Any], path: Path, of_attributes: tuple[str, ...], of_series: tuple[str, ...]
) -> dict[str, float]:
    """Give the numbers under keys that hold them by name, and under keys that hold a dataset as xarray writes it."""
    found: dict[Any, Any] = {}
    for key in of_attributes:
        found |= _mapping(stated.get(key), f"{path}: {key}")
    for key in of_series:
        dataset = _mapping(stated.get(key), f"{path}: {key}")
        if key in stated and "data_vars" not in dataset:
            raise FormatError(f"{path}: {key} has no data_vars; expected a dataset as xarray writes it")
        variables = _mapping(dataset.get("data_vars"), f"{path}: data_vars of {key}")
        found |= {name: one.get("data") if isinstance(one, dict) else one for name, one in variables.items()}
    for name, number in found.items():
        if not isinstance(name, str) or type(number) not in (int, float) or abs(number) >= 1e300:
            raise FormatError(f"{path} has {told(number)} for {told(name)}; expected a number under a name")
    return {name: float(number) for name, number in found.items()}


def _mapping(stated: Any, where: str) -> dict[Any, Any]:
    if stated is None:
        return {}
    if not isinstance(stated, dict):
        raise FormatError(f"{where} is {told(stated)}; expected a mapping by name")
    return stated
