"""Runnable pages of the documentation: what they print stands under each cell, what cannot run says why."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("myst_parser", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def to_markdown():
    path = Path(__file__).parent.parent / "docs" / "percent.py"
    spec = importlib.util.spec_from_file_location("percent", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.to_markdown


def test_a_cell_is_followed_by_what_it_prints_and_knows_its_file(to_markdown):
    source = "# %% [markdown]\n# # Title\n\n# %%\nfrom pathlib import Path\nprint(Path(__file__).name)\n"
    page = to_markdown(source, "a/b.py")
    assert page.startswith("# Title")
    assert "```text\nb.py\n```" in page


def test_a_page_that_lacks_its_data_says_so_and_shows_the_rest_without_running_it(to_markdown):
    source = """# %%
print("before")
raise SystemExit("skipped: there is no data")

# %% [markdown]
# Prose.

# %%
1 / 0
"""
    page = to_markdown(source)
    assert "```text\nbefore\n```" in page
    assert "```{note}\nNot run here: there is no data\n```" in page
    assert "Prose." in page
    assert "```python\n1 / 0\n```" in page


def test_a_page_can_be_shown_without_running_it(to_markdown):
    page = to_markdown("# %%\n1 / 0\n", run=False)
    assert page == "```python\n1 / 0\n```\n"


@pytest.mark.parametrize("end", ["raise SystemExit", "raise SystemExit(1)", "raise SystemExit('no skipped: data')"])
def test_a_page_that_ends_itself_otherwise_does_not_build(to_markdown, end):
    with pytest.raises(RuntimeError, match="the page ends itself"):
        to_markdown(f"# %%\n{end}\n")
