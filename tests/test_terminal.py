"""What reaches a terminal: text from anywhere, and the package's own styles."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from piplay.console import TerminalConsole
from piplay.terminal import encodable_output, escaped, escaped_output

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\r\x08\x7f\u202egnp\u2066\ud83d[/bold][link=x]é"


def acts(character: str) -> bool:
    """Whether a terminal does otherwise than to show it, said by Unicode's own table."""
    kind = unicodedata.category(character)
    turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return turns or (kind in ("Cc", "Cs", "Zl", "Zp") and character not in "\t\n")


@given(st.text(st.characters(exclude_categories=())))
@example(HOSTILE)
@example("".join(map(chr, range(0x3000))))
def test_nothing_that_acts_is_left_and_json_stays_what_it_was(text: str) -> None:
    assert not any(map(acts, escaped(text)))
    assert escaped(escaped(text)) == escaped(text)
    assert json.loads(escaped(json.dumps({"a": text}, ensure_ascii=False))) == {"a": text}
    plain = "".join(character for character in text if not acts(character) and character not in "\u061c\u200e\u200f")
    assert escaped(plain) == plain


def console(**how: object) -> TerminalConsole:
    return TerminalConsole(file=io.StringIO(), width=60, **how)


def raw(shown: TerminalConsole) -> str:
    file = shown.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_styles_and_escapes_text(terminal: bool) -> None:
    shown = console(force_terminal=terminal, color_system="standard" if terminal else None)
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    for thing in (HOSTILE, Text(HOSTILE, "bold red"), table):
        shown.print(thing)
    told = raw(shown)
    assert told.count("\\u001b[31m") >= 4
    assert "[/bold][link=x]é" in told
    own = told.replace("\x1b[1;31m", "").replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[3m", "")
    assert not any(map(acts, own))
    assert ("\x1b" in told) == terminal


def test_a_table_is_as_wide_as_what_it_shows() -> None:
    shown = console(force_terminal=False)
    table = Table("name", "other")
    table.add_row("\x1b\u202e", "x")
    table.add_row("longer than that", "y")
    shown.print(table)
    assert len({len(line) for line in raw(shown).splitlines()}) == 1


def test_a_bar_moves_and_its_text_is_escaped() -> None:
    shown = console(force_terminal=True)
    with Progress(TextColumn("{task.description}", markup=False), console=shown) as bar:
        bar.add_task(HOSTILE)
    assert "\\u001b[31mred" in raw(shown)
    assert "\x1b[31m" not in raw(shown)
    assert "\x1b[?25l" in raw(shown)


def test_what_anyone_prints_is_escaped_but_for_styles(capfd: pytest.CaptureFixture[str]) -> None:
    with escaped_output():
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)
        sys.stdout.writelines([HOSTILE, "\n"])
        TerminalConsole(force_terminal=True, color_system="standard").print("x", style="red")
    told = capfd.readouterr()
    assert "\x1b[31mx\x1b[0m" in told.out
    for line in (*told.out.splitlines()[:2], told.err):
        assert not any(map(acts, line))
    print("\x1b")
    assert capfd.readouterr().out == "\x1b\n"


def test_what_an_encoding_lacks_is_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding="ascii"))
    encodable_output()
    print(json.dumps("π😀", ensure_ascii=False), flush=True)
    assert json.loads(file.getvalue().decode("ascii")) == "π😀"
