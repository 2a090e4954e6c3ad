"""A growing set of keys."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.lake.digest import digest_column, narrow, widen
from curate.lake.keyset import KeySet

# Digests, and keys that are none, some of which share a beginning.
KEYS = [
    *digest_column(pl.Series([str(n) for n in range(40)]).to_arrow()).to_pylist(),
    "",
    "a",
    "a" * 31,
    "0" * 33,
]
TWINS = ["0" * 16 + f"{n:016x}" for n in range(8)]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(KEYS + TWINS), max_size=20), max_size=8))
def test_it_holds_what_was_put_in_and_nothing_else(parts):
    keys, known = KeySet(), set()
    for part in parts:
        keys.add(pl.Series(part, dtype=pl.String))
        known |= set(part)
        wanted = pl.Series(KEYS + TWINS)
        assert keys.has(wanted).tolist() == [key in known for key in wanted]


@settings(deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex) | st.just(""), max_size=20))
def test_a_key_as_a_number_is_the_same_key_in_the_same_order(keys):
    texts = pl.Series("key", keys, dtype=pl.String)
    numbers = narrow(texts)
    assert numbers.dtype == pl.UInt128
    assert widen(numbers).to_list() == ["" if key == "0" * 32 else key for key in keys]
    assert numbers.sort().to_list() == narrow(texts.sort()).to_list()
