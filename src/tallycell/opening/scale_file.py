"""How raw values were scaled, from a file: means and standard deviations, as JSON or YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tallycell.errors import FormatError, InputError
from tallycell.files import read_json, read_text, require_file
from tallycell.scaling import Scaling
from tallycell.wording import listed, one_line, quoted

_CENTERS = ("mean", "means", "mean_", "center", "centers", "center_")
_SPREADS = ("std", "stds", "std_", "scale", "scale_", "spread", "stdev", "sd")
_NAMES = ("features", "columns", "names", "feature_names", "feature_names_in_")
_HYDROLOGY = ("xarray_feature_center", "xarray_feature_scale")
_ATTRIBUTES = ("attribute_means", "attribute_stds")
_MOST_BYTES = 2**22  # of a file that holds two numbers a feature
_FORMS = (
    'a mean and a std for each name, such as {"rain": {"mean": 1.5, "std": 2.0}} or {"mean": {"rain": 1.5}, "std": '
    '{"rain": 2.0}}; or lists, with the names under "features"'
)


def read_scale(path: Path) -> Scaling:
    """Read how raw values were scaled.

    Parameters
    ----------
    path
        JSON or, with the suffix ``.yml`` or ``.yaml``, YAML. One of: a mean and a std for each name; the means of all
        names and the stds of all names; lists of means and of stds, with the names beside them (``features``,
        ``columns``, or as the attributes of a scaler of scikit-learn are called, ``mean_``, ``scale_`` and
        ``feature_names_in_``); NeuralHydrology's ``train_data_scaler.yml``, with its static attributes.

    Raises
    ------
    InputError
        If there is no such file, its suffix is another, or it says something else.
    FormatError
        If it is no JSON or YAML.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "scale.json")
    ...     _ = path.write_text('{"mean": [1.5, 3], "std": [2, 4], "features": ["rain", "snow"]}')
    ...     read_scale(path)
    Scaling(rain: center 1.5, spread 2, snow: center 3, spread 4)
    """
    if path.suffix.lower() not in (".json", ".yml", ".yaml"):
        raise InputError(f"{path} is no scaling that can be read; expected a name ending in .json, .yml, .yaml")
    require_file(path, InputError, "a scaling")
    content = read_json(path, _MOST_BYTES) if path.suffix.lower() == ".json" else _yaml(path)
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds {quoted(content)}; expected {_FORMS}")
    if all(key in content for key in _HYDROLOGY):
        pairs = [(_data(content[name], name, path) for name in _HYDROLOGY)]
        pairs += [(content[name] for name in _ATTRIBUTES)] if all(name in content for name in _ATTRIBUTES) else []
        center, spread = (_merged(part, path) for part in zip(*pairs, strict=True))
    else:
        center, spread = _center_and_spread(content, path)
    return Scaling(
        {name: _number(value, name, path) for name, value in center.items()},
        {name: _number(value, name, path) for name, value in spread.items()},
    )


def _yaml(path: Path) -> object:
    import yaml

    if path.stat().st_size > _MOST_BYTES:
        raise FormatError(f"{path} is larger than {_MOST_BYTES} bytes, the most that is read of such a file")
    text = read_text(path, FormatError, "YAML")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise FormatError(f"{path} cannot be read as YAML: {reason}") from None


def _center_and_spread(content: Mapping[Any, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    top = _first(content, _CENTERS), _first(content, _SPREADS)
    if top[0] is not None and top[1] is not None:
        center, spread = (content[name] for name in top)
        if isinstance(center, Mapping) and isinstance(spread, Mapping):
            return _merged([center], path), _merged([spread], path)
        return _listed_by_name(content, center, path), _listed_by_name(content, spread, path)
    by_name: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, pair in content.items():
        keys = (_first(pair, _CENTERS), _first(pair, _SPREADS)) if isinstance(pair, Mapping) else (None, None)
        if keys[0] is None or keys[1] is None:
            raise InputError(f"{path} holds {quoted(pair)} for {quoted(name)}; expected {_FORMS}")
        for values, key in zip(by_name, keys, strict=True):
            values[str(name)] = pair[key]
    return by_name


def _first(content: Mapping[Any, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in content), None)


def _listed_by_name(content: Mapping[Any, Any], values: object, path: Path) -> dict[str, Any]:
    key = _first(content, _NAMES)
    names = content[key] if key is not None else None
    if not isinstance(names, list):
        raise InputError(f'{path} has lists of numbers and no names for them; add "features", the list of the names')
    if not isinstance(values, list) or len(values) != len(names):
        count = f"{len(values)} numbers" if isinstance(values, list) else quoted(values)
        raise InputError(f"{path} has {count} for the {len(names)} names {listed(names)}; give one number each")
    if len({str(name) for name in names}) < len(names):
        raise InputError(f"{path} has a name twice among {listed(names)}; give each once")
    return {str(name): value for name, value in zip(names, values, strict=True)}


def _data(dataset: object, key: str, path: Path) -> dict[str, Any]:
    """Give the numbers of a dataset that xarray wrote as a dictionary."""
    variables = dataset.get("data_vars") if isinstance(dataset, Mapping) else None
    if not isinstance(variables, Mapping):
        raise InputError(f"{path}: {quoted(key)} has no data_vars; expected NeuralHydrology's train_data_scaler.yml")
    return {str(name): one.get("data") if isinstance(one, Mapping) else one for name, one in variables.items()}


def _merged(parts: Any, path: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise InputError(f"{path} holds {quoted(part)}; expected {_FORMS}")
        merged |= {str(name): value for name, value in part.items()}
    return merged


def _number(value: object, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path} holds {quoted(value)} for {quoted(name)}; expected a number")
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{path} holds {quoted(value)} for {quoted(name)}; expected a number below 1e308") from None
