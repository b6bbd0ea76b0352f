"""What an LSTM reads, opened: a text, a table or a sound becomes an :class:`~tallycell.input.Input`.

``text`` with ``vocabulary`` and ``text_quantities``; ``features`` over ``tables``; ``audio`` over ``sound``,
``front_end`` and ``sound_quantities``. ``choosing`` says which LSTM reads, and turns everything round for one that
begins at the last step; ``stack`` runs the layers in front of it.
"""

from tallycell.opening.audio import open_audio
from tallycell.opening.features import open_table
from tallycell.opening.scale_file import read_scale
from tallycell.opening.sound import Sound, read_wav
from tallycell.opening.sound_quantities import audio_quantities
from tallycell.opening.state_file import read_state
from tallycell.opening.tables import SUFFIXES as TABLES
from tallycell.opening.tables import read_quantities, read_table, read_tables
from tallycell.opening.text import TextReader, open_text, text_reader
from tallycell.opening.text_quantities import text_quantities
from tallycell.opening.vocabulary import Vocabulary, read_vocabulary

__all__ = [
    "TABLES",
    "Sound",
    "TextReader",
    "Vocabulary",
    "audio_quantities",
    "open_audio",
    "open_table",
    "open_text",
    "read_quantities",
    "read_scale",
    "read_state",
    "read_table",
    "read_tables",
    "read_vocabulary",
    "read_wav",
    "text_quantities",
    "text_reader",
]
