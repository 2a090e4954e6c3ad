"""Near-duplicates by MinHash: sketch, bands, candidates, exact verification, leaders. Pure functions."""


def warm() -> None:
    """Compile all kernels of this package, or load them from the cache, on a few words."""
    import numpy as np
    import pyarrow as pa

    from curate.dedup.candidates import candidates
    from curate.dedup.interchange import affine32
    from curate.dedup.leaders import leaders
    from curate.dedup.nearest import nearest
    from curate.dedup.shingles import read_only, shingle_sets
    from curate.dedup.sketch import SketchOptions, estimates, sketch
    from curate.dedup.verify import similarities

    texts = pa.array(["one two three four five six", "one two three four five six", "é"], pa.large_string())
    options = SketchOptions(slots=16)
    sketches = sketch(texts, options)
    rank = np.arange(3)
    pairs = candidates(sketches.slots, sketches.shingles, rank, threshold=0.8, bands=2, rows=2).pairs
    estimates(sketches.slots, pairs)
    nearest(sketches.slots, sketches.shingles, np.arange(2), 0.8)
    leaders(rank, pairs, similarities(texts, pairs, options), 0.8)
    sets = shingle_sets(texts, options)
    ones = read_only([1], np.uint32)
    affine32(read_only(sets.values, np.uint64), read_only(sets.offsets, np.int64), ones, ones)
