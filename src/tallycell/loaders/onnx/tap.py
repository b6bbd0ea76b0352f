"""Taps: the real inputs, states and outputs of the LSTMs in somebody's ONNX model, as ONNX Runtime runs it."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

from tallycell.errors import InputError
from tallycell.loaders.onnx.calls import Tapped, chains, join
from tallycell.loaders.onnx.sites import open_lstms
from tallycell.loaders.onnx.wiring import Feeds, Session, calls_of, choose, wires_of
from tallycell.wording import quoted


def tap(
    path: str | PathLike[str],
    feeds: Feeds | Iterable[Feeds],
    *,
    lstm: str | None = None,
    carry: Mapping[str, str] | None = None,
) -> dict[str, Tapped]:
    """Run an ONNX model on real input, and give what each of its LSTMs read and made.

    Parameters
    ----------
    path
        The model's file, which is not changed.
    feeds
        The model's inputs by name, for one call; or any number of such, one call after the other.
    lstm
        Path of the only LSTM to tap, as :func:`tallycell.load` gives it; all if None.
    carry
        From the name of a state input to that of the output which feeds it in the next call. The first call takes it
        from its feeds.

    Returns
    -------
    dict
        By the path of the LSTM, in order of execution; without those in branches that no call took. Where an LSTM
        starts from the very states in which the call before left it, the calls follow each other in time; every other
        call is a further sequence, with ``lengths`` where they differ.

    Raises
    ------
    MissingExtraError
        If onnx or onnxruntime is not installed.
    FormatError
        If the file is damaged, or holds no LSTM that can be read.
    InputError
        If the model does not run on these feeds, has no such LSTM, or that runs inside a loop.

    Examples
    --------
    ::

        tapped = tc.tap("model.onnx", {"input": audio})["decoder/rnn/LSTM"]
        trace = tc.record_trace(model["decoder/rnn/LSTM"], tapped.x, tapped.state, lengths=tapped.lengths)
    """
    source = Path(path)
    model, _, found = open_lstms(source)
    chosen = choose(found, None if lstm is None else [lstm], source)
    wires = wires_of(model, chosen)
    session = Session(model)
    calls = calls_of(session, wires, [feeds] if isinstance(feeds, Mapping) else feeds, carry or {})
    if not calls and lstm is None:
        raise InputError(f"no LSTM of {source} ran: feeds holds no call, or the calls are without steps")
    if not calls:
        raise InputError(f"the LSTM at {quoted(lstm)} did not run: it stands in a branch that these feeds do not take")
    return {name: join(chains(calls[id(one)])) for name, one in chosen.items() if id(one) in calls}
