"""YAML read as plain data: nothing in it is made or called, and nothing can grow.

No format of its own: what run folders and files of scalings have in common.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tallycell.errors import FormatError, InputError
from tallycell.files import read_text, require_file
from tallycell.wording import one_line

_MOST_BYTES = 2**17  # PyYAML takes a second or more for so much
_DEEPEST = 50  # its time grows with the square of the depth


def read_yaml_mapping(
    path: Path, error: type[FormatError | InputError] = FormatError, what: str = "a YAML file"
) -> Mapping[Any, Any]:
    r"""Give the mapping that a YAML file holds.

    Parameters
    ----------
    path
        The file, in UTF-8.
    error
        What to raise.
    what
        What is expected, for the text.

    Raises
    ------
    FormatError, InputError
        If it is no regular file, larger than 128 KiB, no YAML, or holds something else; if it has tags, which stand
        for objects of Python, or merge keys (``<<``), by which a short file can become any amount of data.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "config.yml"
    ...     _ = path.write_text("model: cudalstm\ndynamic_inputs: [rain, snow]")
    ...     read_yaml_mapping(path)
    {'model': 'cudalstm', 'dynamic_inputs': ['rain', 'snow']}
    """
    import yaml

    size = require_file(path, error, what).st_size
    if size > _MOST_BYTES:
        raise error(f"{path} has {size} bytes; expected {what}, of at most {_MOST_BYTES}")
    text = read_text(path, error, what)
    try:
        _check_events(yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # the same events, sooner
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as reason:
        raise error(f"{path} cannot be read as YAML: {one_line(reason)}") from None
    if not isinstance(content, dict):
        raise error(f"{path} holds a YAML {type(content).__name__}, expected a mapping, as in {what}")
    return content


def _check_events(events: Iterable[Any]) -> None:
    """Refuse what costs far more than its length: deep nesting, and merge keys, which multiply in each other."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent")
        depth -= kind.endswith("EndEvent")
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if getattr(event, "value", None) == "<<" or (getattr(event, "tag", None) or "").endswith(":merge"):
            raise ValueError("it has a merge key (<<); write the keys out")
