"""ONNX: the operators LSTM and DynamicQuantizeLSTM, and LSTMs that an exporter took apart; no code of a file runs.

Weights are initialisers, external data, or constants that Slice, Concat, Transpose and the like rearrange; they may
stand in branches of an If and in functions of the model.
"""

from pathlib import Path

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.loaders.onnx.constants import Constants
from tallycell.loaders.onnx.graph import OnnxModel, operator_of
from tallycell.loaders.onnx.sites import Found, open_lstms
from tallycell.loaders.onnx.tracing import find_embedding, find_head
from tallycell.loaders.vocabulary import with_vocabulary
from tallycell.parameters import LSTMParameters
from tallycell.wording import one_line, reasons

_OTHERS = ("GRU", "RNN", "com.microsoft.AttnLSTM")


def load_onnx(path: Path) -> LoadedModel:
    """Read the LSTMs of an ONNX file.

    Parameters
    ----------
    path
        The file; external data may lie in its folder.

    Returns
    -------
    LoadedModel
        In order of execution, by the name of the node without slashes at its ends. Where two share a name, the nodes
        and branches around it stand in front: ``"If_0/then_branch/rnn"``. An LSTM that was taken apart goes by the
        torch names of its weights (``"decoder.rnn"``). A node that reads its sequence from the right is one direction
        here, with ``places[path].reverse``. Initial states are no part of the parameters: :func:`tallycell.tap` gives
        them. Where an activation lacks alpha or beta, ONNX Runtime's are taken: 0 for Affine, ScaledTanh and
        ThresholdedRelu. An LSTM in a branch of an If has in ``places[path].when`` in which case it runs. A vocabulary
        in the metadata is used if it names each row of the embedding.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    FormatError
        If the file is missing, damaged, or without an LSTM that can be read; the text says why of each.

    Examples
    --------
    >>> import tempfile
    >>> from tallycell.loaders.onnx.export import to_onnx
    >>> ones = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(ones, Path(folder) / "ones.onnx")
    ...     model = load_onnx(Path(folder) / "ones.onnx")
    >>> model.lstm == ones
    True
    """
    model, constants, found = open_lstms(path)
    try:
        stacks = {name: one.parameters for name, one in found.items() if isinstance(one.parameters, LSTMParameters)}
        refused = {
            name: one_line(one.parameters) for name, one in found.items() if isinstance(one.parameters, Exception)
        }
        if not stacks:
            raise FormatError(_nothing(model, refused))
        embedding, heads = _around(found, constants)
    except RecursionError:
        raise FormatError(f"{path}: its graphs are nested or chained too deeply to be read") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    places = {name: one.place for name, one in found.items() if name in stacks}
    is_one = list(heads) == list(stacks)[-1:]  # behind the very last LSTM: the head of the model
    head = heads.popitem()[1] if is_one else None
    loaded = LoadedModel(
        stacks, path, places=places, refused=refused, embedding=embedding, head=head, heads=heads, in_order=True
    )
    return with_vocabulary(loaded, {one.key: one.value for one in model.proto.metadata_props})


def _nothing(model: OnnxModel, refused: dict[str, str]) -> str:
    if refused:
        return f"none of its LSTMs can be read: {reasons(refused)}"
    operators = [operator_of(node) for _, node in model.root.walk()]
    others = sorted({name for name in operators if name in _OTHERS})
    seen = f", only {', '.join(others)}" if others else f"; its {len(operators)} nodes hold none"
    return f"no LSTM in the model{seen}"


def _around(found: dict[str, Found], constants: Constants) -> tuple[np.ndarray | None, dict[str, Head]]:
    """Find what stands before the first LSTM, None where branches make it more than one, and behind the last of each.

    The last LSTM is that of each graph: branches have their own.
    """
    sites = [site for one in found.values() for site in one.sites]
    embedding = None
    if sites and all(site.scope is sites[0].scope for site in sites):
        first = next(iter(found.values())).parameters
        if isinstance(first, LSTMParameters):
            embedding = find_embedding(sites[0].scope, sites[0].x, constants, first.input_size)
    last = {id(one.sites[-1].scope): (name, one) for name, one in found.items() if one.sites}
    heads: dict[str, Head] = {}
    for name, one in last.values():
        if isinstance(one.parameters, LSTMParameters):
            site = one.sites[-1]
            outputs = site.step[:1] if site.step else site.node.output[:2]
            hidden = one.parameters.output_size * one.parameters.num_directions
            head = find_head(site.scope, tuple(outputs), constants, hidden)
            heads |= {} if head is None else {name: head}
    return embedding, heads
