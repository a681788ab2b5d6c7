"""Whatever is text stays text."""

from hypothesis import given
from hypothesis import strategies as st
from parsed import parse

from piplay.report.markup import join, number, tag

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)


@given(TEXT, TEXT)
def test_text_and_attributes_come_back_as_they_were(text: str, title: str) -> None:
    [span] = parse(tag("p", tag("span", text, title=title), join("a<b>", None))).all("span")
    assert span.children == ([text] if text else [])
    assert span.attributes == {"title": title}


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", join("1 < 2", tag("b", "&")), class_="x") == '<p class="x">1 &lt; 2<b>&amp;</b></p>'


def test_numbers_have_three_digits() -> None:
    values = [0, 1, 0.12345, -2.5, 1234567, 12345, 0.00012, 99.96, 1e-7]
    assert [number(v) for v in values] == ["0", "1", "0.123", "-2.5", "1.23e+06", "12,300", "0.00012", "100", "1e-07"]


@given(st.floats(-1e9, 1e9))
def test_a_number_is_within_half_a_percent(value: float) -> None:
    assert abs(float(number(value).replace(",", "")) - value) <= 0.0051 * abs(value)
