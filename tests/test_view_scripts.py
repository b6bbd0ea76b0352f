"""The page's own programs: joined they are one script, no name comes twice, and nothing in them writes markup."""

import re

import pytest

from tallycell.view.scripts import joined, modules_in_order, names_of, read_static, static_names

MODULES = [name for name in static_names() if name.endswith(".js")]
IMPORT = re.compile(r'^import \{ (.+) \} from "\./([a-z_]+\.js)";$')


def test_every_module_is_needed():
    assert sorted(modules_in_order()) == MODULES


def test_each_name_at_the_top_is_there_once():
    names = [name for module in MODULES for name in names_of(module)]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


@pytest.mark.parametrize("name", MODULES)
def test_imports_stand_in_one_line_and_are_exported_there(name):
    for line in read_static(name).splitlines():
        if line.startswith(("import", "export")):
            assert re.match(r"import \{|export (async )?(const|let|function|class) ", line), line
        if line.startswith("import"):
            wanted, source = IMPORT.match(line).groups()
            for one in wanted.split(", "):
                assert re.search(
                    rf"^export (?:async )?(?:const|let|function|class) {one}\b", read_static(source), re.MULTILINE
                )
                assert len(re.findall(rf"\b{one}\b", read_static(name))) > 1, f"{one} is not used"


def test_joined_it_imports_and_exports_nothing():
    script = joined()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    assert "</script" not in script
    assert "<!--" not in script


@pytest.mark.parametrize("name", MODULES)
def test_no_module_writes_markup_or_runs_text(name):
    text = read_static(name)
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
                      'setAttribute("style"', "srcdoc", "http://", "https://"):  # fmt: skip
        assert forbidden not in text


@pytest.mark.parametrize("name", [*MODULES, "page.css"])
def test_modules_are_as_short_as_pythons(name):
    assert len(read_static(name).splitlines()) <= 400
    assert "\r" not in read_static(name)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert re.match(r"// [A-Z]", read_static(name))
