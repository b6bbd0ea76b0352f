"""Help: the commands in groups, and under each of them examples and where its page is."""

from typing import Any

from typer.core import TyperGroup

GROUPS = {
    "Read a model": ("read", "view", "survey", "explain", "trace", "inspect"),
    "Counter machines (a finite automaton with counters that each symbol may raise, lower or reset)": (
        "machines", "run", "export", "extract", "compile", "check", "harden",
    ),
    "Learn to count": ("train", "languages", "scoreboard"),
}  # fmt: skip
PAGES = {
    "view": "view", "survey": "scale", "explain": "effects",
    "machines": "machines", "run": "machines", "export": "notation", "extract": "extraction", "compile": "compilation",
    "check": "checking", "harden": "extraction", "train": "learning", "languages": "learning", "scoreboard": "learning",
}  # fmt: skip
EXAMPLES = {
    "read": (
        "tallycell read                      # the model and the text that come with tallycell",
        "tallycell read model.pt --array basin.csv --quantities snow.csv",
        "tallycell read tagger.pt --text reviews.txt --vocab vocab.txt",
        "tallycell read detector.onnx --audio speech.wav --unit 0.59",
    ),
    "view": (
        "tallycell view                      # the model and the text that come with tallycell",
        "tallycell view model.pt --array basin.csv    # a trace, too: tallycell view run.zarr",
    ),
    "survey": (
        "tallycell survey tagger.pt reviews.txt --vocab vocab.txt --out survey    # the same again goes on",
        "tallycell survey model.pt basin.csv --steps 90 --out survey --keep-going",
    ),
    "explain": (
        "tallycell explain --at 60           # the model and the text that come with tallycell",
        "tallycell explain tagger.pt --text reviews.txt --vocab vocab.txt --at 12 --output 2",
    ),
    "trace": ("tallycell trace model.pt basin.csv -o run.zarr    # in Python: tallycell.open_trace('run.zarr')",),
    "inspect": ("tallycell inspect detector.onnx",),
    "machines": ("tallycell machines", "tallycell export anbn               # print one of them"),
    "run": ("tallycell run anbn aaabbb aabbb", "tallycell run comment-depth 'int /* a /* b */ c' --other x --steps"),
    "export": ("tallycell export anbn", "tallycell export anbn --to c -o anbn.c"),
    "extract": (
        "tallycell extract network.safetensors",
        "tallycell extract network.safetensors --inputs strings.txt -o machine.txt",
    ),
    "compile": ("tallycell compile anbn -o network.safetensors", "tallycell compile machine.txt -o mine.safetensors"),
    "check": (
        "tallycell check anbn network.safetensors --language 'a^n b^n'",
        "tallycell check machine.txt mine.safetensors --strings strings.txt",
    ),
    "harden": ("tallycell harden trained.safetensors -o exact.safetensors",),
    "train": ("tallycell train dyck-1 -o trained.safetensors --hardened exact.safetensors",),
    "languages": ("tallycell languages",),
    "scoreboard": ("tallycell scoreboard 10a 10b --seeds 2 --results mine.jsonl --page mine.md",),
}


class Commands(TyperGroup):
    """The commands in the order of their groups; each says what it is like to use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names, group by group."""
        grouped = [name for names in GROUPS.values() for name in names]
        return [*grouped, *(name for name in super().list_commands(ctx) if name not in grouped)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group."""
        for heading, names in GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, one.get_short_help_str(100)) for name, one in commands if one is not None])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a command with its examples."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.epilog = epilog_of(cmd_name)
        return command


def epilog_of(name: str) -> str:
    r"""Give what stands below the options of a command: lines that are kept as they are.

    Examples
    --------
    >>> print(epilog_of("inspect").replace("\b", ""))
    <BLANKLINE>
    Examples:
      tallycell inspect detector.onnx
    More: docs/command_line.md
    """
    lines = [
        "Examples:",
        *(f"  {example}" for example in EXAMPLES.get(name, ())),
        f"More: docs/{PAGES.get(name, 'command_line')}.md",
    ]
    return "\n".join(["\b", *lines])
