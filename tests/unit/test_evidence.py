"""The bitmap that is kept beside the messages of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.model.evidence import from_text, to_text


@given(st.frozensets(st.integers(0, 9_999)))
def test_the_places_come_back(places: frozenset[int]) -> None:
    assert from_text(to_text(places)) == places


def test_the_largest_batch_fits_into_the_metadata_of_an_offset() -> None:
    assert len(to_text(range(1000))) == 168
    assert len(to_text(range(10_000))) == 1668


@pytest.mark.parametrize("text", ["!", "abc", "ä"])
def test_what_is_no_bitmap_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text)
