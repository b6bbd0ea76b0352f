import itertools
import re
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tallycell.errors import InputError, TallycellError
from tallycell.learning.languages import Language, language, languages
from tallycell.learning.languages.own import language_of_machine
from tallycell.learning.languages.strings import (
    any_string,
    balanced,
    beta_binomial,
    brackets,
    geometric,
    in_blocks,
    uniform,
)
from tallycell.machine import parse, shipped_machine

BLISS = "data/bliss/datasets"
ENOUGH = 12  # members of the slow definitions, in n


# ---- slow definitions, which know nothing of machines ----------------------------------------------------------------


def from_members(members):
    """What may follow, by looking through all members; None after what begins none of them."""

    def right(text):
        begun = [member for member in members if member.startswith(text)]
        if not begun:
            return None
        return {member[len(text)] if len(member) > len(text) else "accept" for member in begun}

    return right


def reduced(text, pairs):
    while True:
        shorter = text
        for pair in pairs:
            shorter = shorter.replace(pair, "")
        if shorter == text:
            return text
        text = shorter


def from_brackets(*pairs):
    def right(text):
        left = [reduced("".join(symbol for symbol in text if symbol in pair), [pair]) for pair in pairs]
        if any(pair[1] in rest for pair, rest in zip(pairs, left, strict=True)):
            return None
        closing = {pair[1] for pair, rest in zip(pairs, left, strict=True) if rest}
        return {pair[0] for pair in pairs} | closing | (set() if closing else {"accept"})

    return right


def tag(says):
    return lambda text: {"accept"} if says(text) else set()


def first_runs_alike(text):
    found = re.match(r"(a*)(b+)a", text)
    return bool(found) and len(found[1]) == len(found[2])


def some_anbn(text):
    return any(text.startswith("a" * n + "b" * n) for n in range(1, len(text) // 2 + 1))


def tomita_3(text):
    runs = [(symbol, len(list(run)) % 2) for symbol, run in itertools.groupby(text)]
    return (("1", 1), ("0", 1)) not in itertools.pairwise(runs)


def value(text):
    return {str(eval(text) % 5)} if re.fullmatch(r"\d([-+*]\d)*", text) else None


ANBN = [n * "a" + n * "b" for n in range(1, ENOUGH)]
ANBNCN = [n * "a" + n * "b" + n * "c" for n in range(1, ENOUGH)]
ANBNCNDN = [n * "a" + n * "b" + n * "c" + n * "d" for n in range(1, ENOUGH)]
ANBMCNM = [n * "a" + m * "b" + (n + m) * "c" for n in range(1, ENOUGH) for m in range(1, ENOUGH)]
WORDS = ["".join(word) for n in range(1, 9) for word in itertools.product("ab", repeat=n)]

RIGHT = {
    "anbn-sampled": lambda text: (found := from_members(ANBN)(text)) and (found if len(found) == 1 else None),
    "anbn": from_members(ANBN),
    "anbncn": from_members(ANBNCN),
    "anbncn-short": from_members(ANBNCN),
    "anbncn-10": from_members(ANBNCN),
    "anbncndn-sampled": lambda text: (found := from_members(ANBNCNDN)(text)) and (found if len(found) == 1 else None),
    "anbncndn": from_members(ANBNCNDN),
    "anbmcnm": from_members(ANBMCNM),
    "anb2n": from_members([n * "a" + 2 * n * "b" for n in range(1, ENOUGH)]),
    "copy": from_members([f"{word}.{'o' * len(word)}" for word in WORDS]),
    "dyck-1": from_brackets("()"),
    "shuffle-2": from_brackets("()", "[]"),
    "shuffle-4": from_brackets("()", "[]", "{}", "aA"),
    "shuffle-6": from_brackets("()", "[]", "{}", "<>", "aA", "bB"),
    "difference-below-5": tag(lambda text: abs(text.count("a") - text.count("b")) < 5),
    "majority": tag(lambda text: text.count("a") > text.count("b")),
    "anbn-prefix": tag(some_anbn),
    "anbn-runs": tag(first_runs_alike),
    "parity": tag(lambda text: text.count("b") % 2 == 0),
    "even-pairs": tag(lambda text: (text.count("ab") + text.count("ba")) % 2 == 0),
    "cycle-navigation": lambda text: {str((text.count("+") - text.count("-")) % 5)},
    "modular-arithmetic": value,
    "tomita-1": tag(lambda text: "0" not in text),
    "tomita-2": tag(lambda text: re.fullmatch("(10)*", text)),
    "tomita-3": tag(tomita_3),
    "tomita-4": tag(lambda text: "000" not in text),
    "tomita-5": tag(lambda text: text.count("0") % 2 == 0 and text.count("1") % 2 == 0),
    "tomita-6": tag(lambda text: (text.count("0") - text.count("1")) % 3 == 0),
    "tomita-7": tag(lambda text: re.fullmatch("0*1*0*1*", text)),
}
SHIPPED = {
    "anbncn-short": "anbncn", "anbncn-10": "anbncn", "anbn-sampled": None, "anbncndn-sampled": None, "copy": None,
    "shuffle-4": None, "anbn-prefix": None, "anbn-runs": None, "modular-arithmetic": None,
}  # fmt: skip
COUNTING = [name for name in languages() if language(name).blocks is not None]


def all_strings(of, most=3000):
    """All strings of an alphabet up to the length at which there would be too many."""
    found, length = [], 1
    while len(found) + len(of.alphabet) ** length <= most and length <= 8:
        found += ["".join(word) for word in itertools.product(of.alphabet, repeat=length)]
        length += 1
    return found


def said(of, text):
    """What the language expects after each symbol of a text: a set of outputs, None where nothing is determined."""
    codes = of.encode(text)[np.newaxis]
    expected = of.truth.expected(codes, np.array([len(text)]))
    return [
        {output for output, there in zip(of.outputs, chosen, strict=True) if there} if determined else None
        for chosen, determined in zip(expected.chosen[0], expected.determined[0], strict=True)
    ]


def test_every_language_has_a_slow_definition():
    assert set(RIGHT) == set(languages())


@pytest.mark.parametrize("name", languages())
def test_what_is_right_is_that_of_a_slow_definition_on_all_short_strings(name):
    of = language(name)
    for text in all_strings(of):
        assert said(of, text)[-1] == RIGHT[name](text), text


@pytest.mark.parametrize("name", languages())
def test_what_is_right_is_that_of_a_slow_definition_at_each_symbol_of_strings_drawn(name):
    of = language(name)
    longest = ENOUGH - 2 if name in (*COUNTING, "anbmcnm") else 40
    if name == "copy":
        longest = 15
    sample = of.draw(np.random.default_rng(0), 30, longest=longest if not of.blocks else 2 * longest)
    for codes, length in zip(sample.codes, sample.lengths, strict=True):
        text = of.text(codes[:length])
        if of.blocks and max(Counter(text).values()) >= ENOUGH - 1:
            continue
        if name == "copy" and text.index(".") > 7:
            continue
        assert said(of, text) == [RIGHT[name](text[:end]) for end in range(1, length + 1)]


@pytest.mark.parametrize("name", [name for name in languages() if SHIPPED.get(name, name)])
def test_where_a_machine_is_shipped_it_is_the_truth(name):
    assert language(name).machine == shipped_machine(SHIPPED.get(name, name))


@pytest.mark.parametrize("name", [name for name in languages() if language(name).legal])
def test_every_string_drawn_is_a_member(name):
    of = language(name)
    sample = of.draw(np.random.default_rng(1), 40)
    last = sample.lengths - 1
    accept = of.outputs.index("accept")
    assert sample.targets[np.arange(40), last, accept].all()
    assert sample.determined[np.arange(40), last].all()


@pytest.mark.parametrize("name", languages())
def test_strings_drawn_are_those_that_a_network_is_meant_to_read(name):
    of = language(name)
    if of.allowed is None:
        assert of.blocks is None
        return
    sample = of.draw(np.random.default_rng(0), 20)
    for codes, length in zip(sample.codes, sample.lengths, strict=True):
        assert of.allowed.accepts(of.text(codes[:length]))


def test_near_misses_are_one_symbol_away_and_no_members():
    for name in COUNTING:
        of = language(name)
        member = Counter(of.text(of.member(5)))
        found = of.near_misses(5)
        assert len(found) == 2 * len(of.blocks(5))
        for near in found:
            text = of.text(near)
            difference = Counter(text) - member + (member - Counter(text))
            assert difference.total() == 1
            assert not of.machine.accepts(text)
        assert len({of.text(near) for near in found}) == len(found)


def test_a_near_miss_that_is_another_member_is_none():
    of = replace(language("anbn"), program="alphabet a b\naccept\non a hold\non b hold\n")
    assert of.near_misses(3) == []


def test_the_sizes_are_those_of_the_protocol():
    rng = np.random.default_rng(0)
    drawn = {
        name: language(name).sizes(rng, 20_000) for name in ("anbn-sampled", "anbncn", "anbncn-short", "anbncn-10")
    }
    assert drawn["anbn-sampled"].mean() == pytest.approx(1 / 0.3, abs=0.1)
    assert (drawn["anbncn"].min(), drawn["anbncn"].max()) == (1, 50)
    assert drawn["anbncn"].mean() == pytest.approx(25.5, abs=0.5)
    # 1 + a beta-binomial of 49 with a = 1 and b = 5: its mean is 49 / 6.
    assert drawn["anbncn-short"].mean() == pytest.approx(1 + 49 / 6, abs=0.2)
    assert (drawn["anbncn-10"].min(), drawn["anbncn-10"].max()) == (1, 10)
    assert set(language("dyck-1").sizes(rng, 2000)) == set(range(2, 51, 2))
    assert set(language("difference-below-5").sizes(rng, 20)) == {64}
    assert set(language("parity").sizes(rng, 2000)) == set(range(1, 41))


def test_beta_binomial_numbers_stay_in_their_range():
    sizes = beta_binomial(1, 4, 0.25, 0.25)(np.random.default_rng(0), 1000)
    assert set(sizes) == {1, 2, 3, 4}
    assert set(uniform(3, 9, 3)(np.random.default_rng(0), 100)) == {3, 6, 9}


def test_balanced_strings_are_all_as_likely():
    rng = np.random.default_rng(0)
    counts = Counter(tuple(balanced(rng, 6)) for _ in range(5000))
    assert len(counts) == 5
    assert all(900 < count < 1100 for count in counts.values())
    assert len(balanced(rng, 0)) == 0


def test_brackets_of_several_kinds_cross():
    drawn = brackets(2)(np.random.default_rng(0), 400)
    assert len(drawn) == 400
    text = language("shuffle-2").text(drawn)
    assert reduced(text, ["()", "[]"]) != ""


def test_row_1_learns_from_the_next_symbol_that_was_drawn():
    of = language("anbn-sampled")
    assert (of.outputs, of.decision, of.fixed) == (("a", "b", "accept"), "argmax", 1000)
    sample = of.sample([of.encode("aabb"), of.encode("ab")])
    a, b, end = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(sample.targets[0], [a, b, b, end])
    np.testing.assert_array_equal(sample.targets[1, :2], [b, end])
    assert sample.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert sample.determined.tolist() == [[False, False, True, True], [False, True, False, False]]


def test_with_legal_symbols_every_symbol_counts():
    of = language("anbn")
    sample = of.sample([of.encode("aabb")])
    assert sample.targets[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert sample.mask.all()


def test_a_fixed_set_is_drawn_once_and_picked_from():
    rng = np.random.default_rng(3)
    source = language("anbn-sampled").source(rng)
    assert len(source.fixed.codes) == 1000
    there = {tuple(row[:length]) for row, length in zip(source.fixed.codes, source.fixed.lengths, strict=True)}
    drawn = source.draw(500)
    assert {tuple(row[:length]) for row, length in zip(drawn.codes, drawn.lengths, strict=True)} <= there
    assert source.draw(50, longest=4).lengths.max() <= 4
    with pytest.raises(InputError, match="none of at most 1 symbols"):
        source.draw(1, longest=1)


def test_new_strings_are_drawn_where_there_is_no_fixed_set():
    source = language("dyck-1").source(np.random.default_rng(3))
    assert source.fixed is None
    assert source.draw(30).codes.tobytes() != source.draw(30).codes.tobytes()


@pytest.mark.parametrize("name", languages())
def test_draws_are_the_same_by_seed_and_short_where_asked(name):
    of = language(name)
    first, second = (of.draw(np.random.default_rng(5), 9, longest=14) for _ in range(2))
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert first.lengths.max() <= 14
    assert len(first.lengths) == 9
    assert first.codes.dtype == np.uint8
    assert first.targets.dtype == np.float32
    assert not first.mask[np.arange(first.codes.shape[1]) >= first.lengths[:, None]].any()


def test_a_tag_that_counts_only_at_the_end_is_learned_there_and_decided_everywhere():
    sample = language("parity").draw(np.random.default_rng(0), 20)
    assert sample.mask.sum(1).tolist() == [1] * 20
    assert sample.mask[np.arange(20), sample.lengths - 1].all()
    assert sample.determined.sum(1).tolist() == sample.lengths.tolist()


def test_two_prefixes_of_anbn_differ_where_b_go_on():
    assert [bool(says) for says in said(language("anbn-prefix"), "aabbba")] == [False] * 3 + [True] * 3
    assert [bool(says) for says in said(language("anbn-runs"), "aabbba")] == [False] * 6
    assert [bool(says) for says in said(language("anbn-runs"), "aabbab")] == [False] * 4 + [True] * 2


def test_a_language_of_ones_own_needs_no_registration():
    of = Language(
        "three", "lengths that are multiples of 3",
        "alphabet x\nstate s0:\n  on x -> s1\n  accept\nstate s1:\n  on x -> s2\nstate s2:\n  on x -> s0\n",
        any_string(1), uniform(1, 9),
    )  # fmt: skip
    sample = of.draw(np.random.default_rng(0), 4)
    assert of.outputs == ("accept",)
    assert [bool(says) for says in said(of, "xxxxxx")] == [False, False, True, False, False, True]
    assert sample.targets.shape[2] == 1


def test_refusals_say_what_to_do():
    with pytest.raises(InputError, match=r"'anban' is neither a language nor a file; did you mean anbn\? there are"):
        language("anban")
    with pytest.raises(InputError, match="dyck-1 is no language in n; draw strings by length"):
        language("dyck-1").member(3)
    with pytest.raises(InputError, match="anbncn has too few strings of at most 2 symbols to draw 4; allow longer"):
        language("anbncn").draw(np.random.default_rng(0), 4, longest=2)


def test_row_1_decides_where_the_published_mask_does(third_party):
    of, rows = language("anbn-sampled"), 40
    with (
        zipfile.ZipFile(third_party / BLISS / "an_bn/test_deterministic_mask.npz") as archive,
        archive.open("data.npy") as file,
    ):
        assert np.lib.format.read_magic(file) == (1, 0)
        (_, width), _, dtype = np.lib.format.read_array_header_1_0(file)
        published = np.frombuffer(file.read(rows * width), dtype).reshape(rows, width)
    for n in range(1, rows + 1):
        member = of.member(n)[np.newaxis]
        determined = of.truth.expected(member, np.array([2 * n])).determined[0]
        # Theirs begins with the start symbol and says of each symbol whether the next one is determined.
        np.testing.assert_array_equal(determined, published[n - 1, 1 : 2 * n + 1])


def test_balanced_brackets_may_go_on_as_published(third_party):
    of, rows = language("dyck-1"), 60
    with zipfile.ZipFile(third_party / BLISS / "dyck_1/test.txt.zip") as archive:
        strings = archive.read(archive.namelist()[0], pwd=b"1234").decode().split()[:rows]
    with (
        zipfile.ZipFile(third_party / BLISS / "dyck_1/test_valid_next_symbols.npz") as archive,
        archive.open("data.npy") as file,
    ):
        assert np.lib.format.read_magic(file) == (1, 0)
        (_, width, _), _, dtype = np.lib.format.read_array_header_1_0(file)
        published = np.frombuffer(file.read(rows * width * 3), dtype).reshape(rows, width, 3)
    for text, valid in zip(strings, published, strict=True):
        inner = text.strip("#")
        if inner:
            codes = of.encode(inner)[np.newaxis]
            chosen = of.truth.expected(codes, np.array([len(inner)])).chosen[0]
            # Theirs are the end, ( and ); ours (, ) and the end.
            np.testing.assert_array_equal(chosen, valid[1 : len(inner) + 1][:, [1, 2, 0]])


# ---- languages of one's own ------------------------------------------------------------------------------------------

MORE_A = """alphabet a b
counter n
on a  n +1
on b  n -1
accept when n > 0
"""


def test_a_machine_makes_a_language_of_what_may_follow():
    own, shipped = language_of_machine(shipped_machine("dyck-1"), "mine"), language("dyck-1")
    assert (own.legal, own.outputs, own.decision) == (True, shipped.outputs, shipped.decision)
    sample = own.draw(np.random.default_rng(0), 200)
    whole = [
        shipped.machine.accepts(own.text(codes[:n])) for codes, n in zip(sample.codes, sample.lengths, strict=True)
    ]
    assert np.mean(whole) > 0.3
    assert sample.mask.sum() == sample.lengths.sum()  # no symbol that may not follow
    theirs = shipped.sample([codes[:n] for codes, n in zip(sample.codes, sample.lengths, strict=True)])
    np.testing.assert_array_equal(sample.targets, theirs.targets)


def test_what_is_drawn_is_what_the_machine_says_may_follow():
    """The near miss: b keeps the machine from failing, and is not legal."""
    own = language_of_machine(
        parse("alphabet a b\ncounter n\non a hold\non b n +1\nlegal a\nlegal b when n > 0\naccept"), "mine"
    )
    sample = own.draw(np.random.default_rng(0), 50)
    assert not sample.codes.any()


def test_a_machine_that_answers_makes_a_language_of_strings_with_a_symbol_changed_too():
    own = language_of_machine(parse(MORE_A), "mine")
    assert (own.legal, own.outputs) == (False, ("accept",))
    sample = own.draw(np.random.default_rng(0), 300)
    for codes, length, targets in zip(sample.codes, sample.lengths, sample.targets, strict=True):
        lead = np.cumsum(np.where(codes[:length] == 0, 1, -1))
        np.testing.assert_array_equal(targets[:length, 0], lead > 0)
    runs = [np.abs(np.diff(codes[:n].astype(int))).sum() for codes, n in zip(sample.codes, sample.lengths, strict=True)]
    assert min(runs) <= 2  # symbols come in runs, so that counters go far
    assert max(runs) > 10


def test_a_language_is_read_from_a_file(tmp_path):
    path = tmp_path / "more_a.machine"
    path.write_text(MORE_A)
    found = language(str(path))
    assert (found.name, found.machine, found.title) == ("more_a", parse(MORE_A), "what the machine more_a says")
    source = found.source(np.random.default_rng(0))
    assert len(source.fixed.codes) == 2000


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("dyck1", None, "'dyck1' is neither a language nor a file; did you mean dyck-1? there are anbn-sampled, "),
        ("a.machine", "alphabet a", "a.machine: line 1, column 1: expected a line that says something"),
        (
            "a.machine",
            "alphabet a\non a hold\nlegal a",
            "a says which symbols may follow, and not when a string may end",
        ),
        (
            "a.machine",
            "alphabet a\non a fail\naccept",
            "a fails on every first symbol, so that there is nothing to learn",
        ),
    ],
)
def test_what_makes_no_language_is_refused(tmp_path, monkeypatch, name, text, said):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(TallycellError, match=re.escape(said)):
        language(name)


def test_blocks_may_repeat_a_word():
    """(ab)^n c^n."""
    program = (
        "alphabet a b c\ncounter n\notherwise fail\nstate x:\non a -> y\non c n > 0 n -1 -> z\nlegal a\n"
        "legal c when n > 0\nstate y:\non b n +1 -> x\nlegal b\nstate z:\non c n > 0 n -1\nlegal c when n > 0\n"
        "accept when n = 0\n"
    )

    def blocks(n):
        return [(("a", "b"), n), ("c", n)]

    words = Language(
        "words", "(ab)^n c^n", program, in_blocks("abc", blocks), geometric(0.3), legal=True, blocks=blocks
    )
    assert words.text(words.member(3)) == "abababccc"
    assert [words.text(near) for near in words.near_misses(2)] == ["abababcc", "abcc", "ababccc", "ababc"]
    assert words.text(words.of_length(np.random.default_rng(0), 1, 2)[0]) == "ababcc"
    wrong = Language("w", "w", program, in_blocks("abc", blocks), geometric(0.3), blocks=lambda n: [(("a", "d"), n)])
    with pytest.raises(InputError, match=r"symbol 'd' of a block is not in the alphabet \('a', 'b', 'c'\)"):
        wrong.member(2)
