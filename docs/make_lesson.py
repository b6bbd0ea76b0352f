"""Make the lesson: ``python docs/make_lesson.py [FILE]`` writes docs/lesson.html, one file that works offline."""

import sys
from pathlib import Path

from tallycell.view.lesson import lesson_page

PLACE = Path(__file__).parent / "lesson.html"


def main() -> None:
    """Write it, and say how large it is."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE
    page = lesson_page()
    page.write(place)
    print(f"{place}: {page.size:,} bytes")


if __name__ == "__main__":
    main()
