"""Draw the unit of the shipped model that counts brackets: a line that it follows, and one where braces do not move it.

python examples/draw_bracket_counter.py FILE.png        # needs the extra `plot`
"""

import sys
from pathlib import Path

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.plot import Span, plot_unit, require_picture, save_picture

FOLLOWED = "step = Step(*(getattr(steps, name)[t, row"
MISSED = '_check(theirs, {1: {"bias"}, 2: {"bias_ih", "bia'


def main(target: Path) -> None:
    require_picture(target)
    subject = open_input()
    given, trace = subject.given, subject.record()
    unit = tc.read_units(trace, given).leaders()["bracket depth"]
    text = "".join(given.tokens)
    followed, missed = text.index(FOLLOWED), text.index(MISSED)
    spans = (
        Span(
            followed,
            followed + len(FOLLOWED),
            "Here the cell follows: every ( and [ adds 1, every ) and ] takes it away",
            {followed + FOLLOWED.index("["): "'[' counts as '(' does"},
        ),
        Span(
            missed, missed + len(MISSED), "Here it does not: braces open, and it stands still",
            {missed + MISSED.index("{", 15): "'{' makes the text deeper, and writes nothing to the cell"},
        ),
    )  # fmt: skip
    save_picture(plot_unit(trace, unit, given, spans=spans), target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
