"""Write the sample text that tallycell ships: some of its own modules, end to end.

    python make_sample.py FILE

The sample is a snapshot: what the README says of it stays true while the modules change.
"""

import sys
from pathlib import Path

MODULES = ("equations.py", "layout.py", "kernels/reference.py", "kernels/hold.py", "kernels/stack.py", "recogniser.py")


def main(target: str) -> None:
    source = Path(__file__).parents[2] / "src" / "tallycell"
    text = "".join((source / module).read_text(encoding="utf-8") for module in MODULES)
    Path(target).write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(text):,} characters from {len(MODULES)} modules")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
