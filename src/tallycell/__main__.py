"""``python -m tallycell`` is the command line."""

from tallycell.cli import main

if __name__ == "__main__":
    main()
