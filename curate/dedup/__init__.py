"""Near-duplicates by MinHash: sketch, bands, candidates, exact verification, leaders. Pure functions."""


def warm() -> None:
    """Compile the kernels of this package, or load them from the cache, on a few words.

    Not those that hash shingles as peers do: few need them, and SHA-1 alone takes 10 s.
    """
    import numpy as np
    import pyarrow as pa

    from curate.dedup.anchors import anchors, neighbours
    from curate.dedup.candidates import candidates
    from curate.dedup.compatible import minhash_values
    from curate.dedup.components import collisions, components
    from curate.dedup.indexed import warm_index
    from curate.dedup.leaders import leaders
    from curate.dedup.nearest import nearest
    from curate.dedup.shingles import shingle_sets
    from curate.dedup.sketch import SketchOptions, estimates, sketch
    from curate.dedup.verify import similarities

    texts = pa.array(["one two three four five six", "one two three four five six", "é"], pa.large_string())
    options = SketchOptions(slots=16)
    sketches = sketch(texts, options)
    rank = np.arange(3)
    pairs = candidates(sketches.slots, sketches.shingles, rank, threshold=0.8, bands=2, rows=2).pairs
    estimates(sketches.slots, pairs)
    batch = np.arange(3), sketches.slots, sketches.shingles
    nearest([batch], np.arange(2), sketches.slots[:2], sketches.shingles[:2], 0.8)
    warm_index(sketches.slots, sketches.shingles)
    components(rank, collisions(sketches.slots, rank, bands=2, rows=2))
    leaders(rank, pairs, similarities(texts, pairs, options), 0.8)
    shingle_sets(texts, options)
    neighbours(anchors(texts, options), texts, 0.8)
    minhash_values(texts, options, permutations=4)


def warm_passages() -> None:
    """The same for equal words, repeated passages and contamination."""
    import numpy as np
    import pyarrow as pa

    from curate.dedup.contamination import item_grams, overlaps
    from curate.dedup.normalized import word_digests
    from curate.dedup.passages import PassageCounts, PassageOptions
    from curate.dedup.spans import SpanOptions, find_spans
    from curate.dedup.units import cut

    texts = pa.array(["One two three. Four five six.\nSeven"] * 2, pa.large_string())
    for ends in ("characters", "sentences"):
        cut(texts, find_spans(texts, SpanOptions(least=16, ends=ends)))
    counts = PassageCounts(PassageOptions())
    counts.add(texts, 0)
    counts.merge(PassageCounts(PassageOptions()))
    counts.find(texts, 0)
    overlaps(texts, item_grams([(texts, np.zeros(len(texts), np.int64))], 3, 1))
    word_digests(texts)
