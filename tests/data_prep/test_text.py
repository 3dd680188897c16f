"""Texts that are the same are equal; texts that look the same are known to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.text import clean, command, quoted, skeleton


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("anger", "anger"),
        ("A\u0308rger", "\u00c4rger"),  # decomposed, as macOS writes names of files
        ("\u212bse", "\u00c5se"),  # the sign of the unit
        ("joy\u200b", "joy"),  # zero-width space
        ("\ufeffjoy", "joy"),  # byte order mark
        ("an\u00adger", "anger"),  # soft hyphen
        ("\u202ajoy\u202c", "joy"),  # marks of direction, as copied from web pages
        ("\u200ejoy\u200f", "joy"),
        ("jo\u2060y", "joy"),  # word joiner
        ("jo\u200dy\u200c", "joy"),  # joiners that join nothing
        ("joy\x00\x7f", "joy"),  # control characters
        ("\u2764\ufe0f", "\u2764"),  # a heart that asks to be colored
        ("very\u00a0happy", "very happy"),  # no-break space
        ("very\u3000happy", "very happy"),  # ideographic space
        ("very\u2009 \t\nhappy\u0085", "very happy"),
        ("\u00a0joy\u2028", "joy"),
    ],
    ids=ascii,
)
def test_a_text_is_kept_in_one_way(given: str, kept: str) -> None:
    assert clean(given) == kept


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # a Persian word, whose letters the joiner parts
        "\u0915\u094d\u200d\u0937",
        "\U0001f468\u200d\U0001f467",
        "\u4f60\u597d\uff0c\u5403\u4e86\u5417\uff1f",  # wide commas and question marks are those of Chinese
        "\uff71\uff9d\uff76\uff9e\uff70",
        "\u0600\u0661",
        "Zo\u00eb s1_-.",
    ],
    ids=ascii,
)
def test_what_is_seen_or_shapes_what_is_seen_stays(text: str) -> None:
    assert clean(text) == text


@given(st.text())
def test_a_clean_text_is_clean(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text())
def test_what_is_the_same_looks_the_same(text: str) -> None:
    assert skeleton(clean(text)) == skeleton(text)


ALIKE = [
    ("anger", "Anger", "ANGER", "\uff41nger", "\u0430nger", "an\u00adger", " anger "),
    ("Zo\u00eb", "zoe\u0308", "ZO\u00cb"),
    ("03", "3", "03.0", '="03"', "3,0", "\uff13", "\u0663", "'03", '="3"'),
    ("s 1", "s1", "s\u200a1", "S\u00a01", '="s1"', "s\u00b9"),
    ("don't", "don\u2019t", "Don\u02bct"),
    ("a-1", "a\u20131", "a\u20101", "a\u22121"),
    ("\u0410\u043d\u044f", "\u0430\u043d\u044f", "A\u043d\u044f"),  # Cyrillic, in two cases, and with a Latin A
    ("\u30a2\u30f3", "\uff71\uff9d"),
]


@pytest.mark.parametrize("alike", ALIKE, ids=ascii)
def test_texts_that_look_the_same_have_one_skeleton(alike: tuple[str, ...]) -> None:
    assert {skeleton(text) for text in alike} == {skeleton(alike[0])}


def test_texts_that_do_not_look_the_same_have_others() -> None:
    others = ["anger", "angry", "Zoe", "Zo\u00eb", "3", "30", "3.5", "0", "Ma\u00dfe", "Masse", "a", "", "s01", "s1"]
    assert len({skeleton(text) for text in others}) == len(others)


def test_a_text_that_is_not_ascii_is_shown_with_the_numbers_of_its_characters() -> None:
    assert quoted("\u0430nger") == "'\u0430nger' ('\\u0430nger')"
    assert quoted("anger") == "'anger'"


def test_a_command_can_be_pasted() -> None:
    assert command("run", "my grid.yaml", "--data", "what?") == "ser-sweep run 'my grid.yaml' --data 'what?'"
