"""The command line: parse, call, print. Exit status 0, or 2 with one line for bad input.

Interrupted (Ctrl-C), asked to end (SIGTERM) or with nobody reading its output any more, a command ends without a
traceback: each is an exception in it, so that what is open is closed and what was to be replaced is whole.
"""

import errno
import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KILLED = 128  # plus the number of the signal: the exit status, as shells have it
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # a disk, a file, what one may use of it
UNREAD = 1  # exit status where the output could not be written because nobody reads it


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    before = _handle_signals(_leave)  # while libraries are imported, which takes a second, there is nothing to close
    try:
        from tallycell.cli.commands import app
        from tallycell.errors import TallycellError

        _handle_signals(_end)
        _replace_what_cannot_be_said()
        try:
            try:
                app()
            finally:
                sys.stdout.flush()  # here and not while Python ends, where a full disk would be a traceback
        except BrokenPipeError:
            _forget_output()
            sys.exit(UNREAD)
        except TallycellError as error:
            _refuse(str(error))
        except OSError as error:
            _forget_output()
            # Whatever writes a file names it; so does the operating system where a folder cannot be listed.
            full = error.errno in FULL and not error.filename
            _refuse(f"cannot write to standard output: {error.strerror}" if full else str(error))
        except MemoryError:
            _refuse("the input is too large for this machine's memory; read a part of it")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, so that no file of ours gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))


def _handle_signals(handler: "signal._HANDLER") -> "dict[signal.Signals, signal._HANDLER]":
    """Handle the signals that end a command; give what handled them before. Only the main thread may."""
    try:
        return {number: signal.signal(number, handler) for number in SIGNALS}
    except ValueError:
        return {}


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(KILLED + number)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(KILLED + number)


def _replace_what_cannot_be_said() -> None:
    """Have a terminal or pipe that cannot say ▁ or ² get a question mark, not an error."""
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Have what cannot be written go nowhere: Python would try once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def _refuse(text: str) -> None:
    from tallycell.wording import visible

    print("tallycell:", visible(" ".join(text.split())), file=sys.stderr)  # noqa: T201
    sys.exit(2)
