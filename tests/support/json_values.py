"""Values that JSON has a form for and a row can hold, made by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(10**300), 10**300) | finite | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(texts, values, max_size=4)
