"""Make the lesson: ``python docs/make_lesson.py FILE`` writes it, one file that works offline."""

import sys

from tallycell.view.lesson import lesson_page


def main() -> None:
    """Write it, and say how large it is."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    page = lesson_page()
    page.write(sys.argv[1])
    print(f"{sys.argv[1]}: {page.size:,} bytes")


if __name__ == "__main__":
    main()
