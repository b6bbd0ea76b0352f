"""How raw values were scaled, from a file: means and standard deviations, as JSON or YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tallycell.errors import InputError
from tallycell.files import read_json, require_file
from tallycell.loaders.neuralhydrology import is_scaler, numbers_of_scaler
from tallycell.loaders.yaml_file import read_yaml_mapping
from tallycell.scaling import Scaling
from tallycell.wording import listed, quoted

_CENTERS = ("mean", "means", "mean_", "center", "centers", "center_")
_SPREADS = ("std", "stds", "std_", "scale", "scale_", "spread", "stdev", "sd")
_NAMES = ("features", "columns", "names", "feature_names", "feature_names_in_")
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
    is_json = path.suffix.lower() == ".json"
    content = read_json(path, _MOST_BYTES) if is_json else read_yaml_mapping(path, what="a scaling")
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds {quoted(content)}; expected {_FORMS}")
    center, spread = numbers_of_scaler(content, path) if is_scaler(content) else _center_and_spread(content, path)
    return Scaling(
        {name: _number(value, name, path) for name, value in center.items()},
        {name: _number(value, name, path) for name, value in spread.items()},
    )


def _center_and_spread(content: Mapping[Any, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    top = _first(content, _CENTERS), _first(content, _SPREADS)
    if top[0] is not None and top[1] is not None:
        center, spread = (content[name] for name in top)
        if isinstance(center, Mapping) and isinstance(spread, Mapping):
            return _by_name(center), _by_name(spread)
        return _listed_by_name(content, center, path), _listed_by_name(content, spread, path)
    found: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, pair in content.items():
        keys = (_first(pair, _CENTERS), _first(pair, _SPREADS)) if isinstance(pair, Mapping) else (None, None)
        if keys[0] is None or keys[1] is None:
            raise InputError(f"{path} holds {quoted(pair)} for {quoted(name)}; expected {_FORMS}")
        for values, key in zip(found, keys, strict=True):
            values[str(name)] = pair[key]
    return found


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


def _by_name(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in values.items()}


def _number(value: object, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path} holds {quoted(value)} for {quoted(name)}; expected a number")
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{path} holds {quoted(value)} for {quoted(name)}; expected a number below 1e308") from None
