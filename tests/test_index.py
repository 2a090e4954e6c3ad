"""Index versions: built whole or not at all, never changed, judged before they may go live."""

import importlib.metadata
import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import faiss
import numpy as np
import pyarrow as pa
import pytest

from indexing.gates import failed_gates
from indexing.manifest import find_problems, read_manifest, verify_version
from indexing.search import Index
from indexing.version import build_version
from schemas.errors import IndexingError
from tests.indexes import (
    APPROXIMATE,
    EMBEDDER,
    OPTIONS,
    TinyEmbedder,
    build,
    large_library,
    library,
    passages,
)


def version_copy(tmp_path, index):
    return shutil.copytree(index.path, tmp_path / "version")


def gates(info):
    return {check.name for check in info.checks if not check.passed}


def test_a_version_holds_all_that_it_needs(tmp_path):
    info = build(tmp_path, passages(50), documents=pa.array([f"d{i:05d}" for i in range(25)]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [info.version]
    assert (info.chunks, info.documents, info.passed) == (50, 25, True)
    manifest = read_manifest(info.path)
    assert manifest.corpus_version == "corpus-1"
    assert manifest.fingerprint == EMBEDDER.fingerprint
    assert manifest.languages == ["de", "en"]
    assert set(manifest.files) == {
        "chunks.arrow",
        "index.faiss",
        "lexical/terms.arrow",
        "lexical/rows.npy",
        "lexical/impacts.npy",
    }
    assert verify_version(info.path) == []


@pytest.mark.parametrize(("count", "options"), [(50, OPTIONS), (1200, APPROXIMATE)])
def test_the_faiss_file_is_whole_without_us(tmp_path, count, options):
    info = build(tmp_path, passages(count), options)
    index = faiss.read_index(str(info.path / "index.faiss"))
    chunks = pa.ipc.open_file(str(info.path / "chunks.arrow")).read_all()
    assert index.ntotal == len(chunks) == count
    asked = 17
    rows = index.search(EMBEDDER.embed([chunks["text"][asked].as_py()]), 3)[1]
    assert rows[0, 0] == asked  # positions are rows of the chunk table


def test_the_same_passages_are_the_same_version_in_any_order(tmp_path):
    table = passages(40)
    info = build(tmp_path, table)
    written = (info.path / "manifest.json").stat().st_mtime_ns
    mixed = table.take(np.random.default_rng(0).permutation(40))
    assert build(tmp_path, mixed).version == info.version
    assert (info.path / "manifest.json").stat().st_mtime_ns == written, "a version was written twice"
    others = [
        build(tmp_path, passages(41)),
        build(tmp_path, table, APPROXIMATE),
        build(tmp_path, table, corpus_version="corpus-2"),
        build(tmp_path, table, embedder=TinyEmbedder("other")),
    ]
    assert len({info.version, *(other.version for other in others)}) == 5


def test_a_build_that_fails_leaves_nothing(tmp_path):
    class Broken(TinyEmbedder):
        def embed(self, texts, kind="passage"):
            raise OSError("the disk is full")

    table = passages(20)
    with pytest.raises(OSError, match="the disk is full"):
        build_version(
            tmp_path,
            table,
            EMBEDDER.embed(table["text"].to_pylist()),
            embedder=Broken(),
            options=OPTIONS,
            corpus_version="1",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_killed_shows_nothing(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from tests.indexes import *\n"
        "class Slow(TinyEmbedder):\n"
        "    def embed(self, texts, kind='passage'): print('building', flush=True); time.sleep(60)\n"
        "table = passages(20)\n"
        "vectors = EMBEDDER.embed(table['text'].to_pylist())\n"
        "build_version(Path(sys.argv[1]), table, vectors, embedder=Slow(), options=OPTIONS, corpus_version='1')"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"building\n"
    child.kill()
    child.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".building-")
    os.utime(left, (0, 0))
    info = build(tmp_path, passages(20))
    assert [path.name for path in tmp_path.iterdir()] == [info.version], "what was left was not swept"


def test_two_that_build_the_same_version_both_have_it(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(build(tmp_path, passages(30)).version)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert [path.name for path in tmp_path.iterdir()] == list(set(found))


@pytest.mark.parametrize(
    "name",
    [
        "chunks.arrow",
        "index.faiss",
        "lexical/terms.arrow",
        "lexical/rows.npy",
        "lexical/impacts.npy",
        "manifest.json",
    ],
)
def test_a_flipped_byte_is_found_and_its_file_named(tmp_path, name):
    folder = version_copy(tmp_path, library())
    file = folder / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    (problem,) = verify_version(folder)
    assert name in problem
    with pytest.raises(IndexingError, match=name):
        Index.open(folder, verify="hash")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "index.faiss").unlink(), "index.faiss is missing"),
        (lambda folder: (folder / "chunks.arrow").write_bytes(b"short"), "chunks.arrow has 5 bytes"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not JSON"),
    ],
)
def test_a_version_that_lost_something_does_not_open(tmp_path, harm, said):
    folder = version_copy(tmp_path, library())
    harm(folder)
    with pytest.raises(IndexingError, match=said):
        Index.open(folder, embedder=EMBEDDER)
    assert any(said in problem for problem in verify_version(folder))


def test_what_does_not_belong_is_named(tmp_path):
    folder = version_copy(tmp_path, library())
    (folder / "notes.txt").write_text("hello")
    assert verify_version(folder) == ["notes.txt does not belong to the version."]


def test_a_manifest_cannot_name_files_outside(tmp_path):
    folder = version_copy(tmp_path, library())
    manifest = read_manifest(folder)
    (tmp_path / "secret").write_text("x" * 10)
    record = manifest.files["chunks.arrow"].model_copy(update={"bytes": 10})
    crafted = manifest.model_copy(update={"files": {"../secret": record}})
    assert find_problems(folder, crafted, "size") == ["../secret lies outside of the version."]


def test_a_version_of_another_format_says_so(tmp_path):
    folder = version_copy(tmp_path, library())
    content = json.loads((folder / "manifest.json").read_text())
    from indexing.manifest import _digest

    content |= {"format": 99}
    content["digest"] = _digest({key: value for key, value in content.items() if key != "digest"})
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(IndexingError, match="has format 99"):
        Index.open(folder)


def test_a_read_only_folder_can_be_searched(tmp_path):
    folder = version_copy(tmp_path, library())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for path in [*folder.rglob("*"), folder]:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        index = Index.open(folder, verify="hash", embedder=EMBEDDER)
        assert len(index.search("reset the vpn", where="stars > 2")) == 5
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns("chunk_id"), "no column 'chunk_id'"),
        (
            lambda table: table.set_column(0, "chunk_id", pa.array(["a"] * len(table))),
            "'a' stands more than once",
        ),
    ],
)
def test_passages_that_do_not_fit_are_refused(tmp_path, change, said):
    with pytest.raises(IndexingError, match=said):
        build(tmp_path, change(passages(10)))


def test_vectors_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(IndexingError, match=r"10 passages need vectors \(10, 64\); found \(9, 64\)"):
        build_version(
            tmp_path,
            passages(10),
            np.ones((9, 64), np.float32),
            embedder=EMBEDDER,
            options=OPTIONS,
            corpus_version="1",
        )


# What the gates see


def test_all_gates_pass_and_say_their_numbers():
    checks = {check.name: check for check in large_library().manifest.checks}
    assert all(check.passed and check.severity == "blocking" for check in checks.values())
    assert set(checks) == {"coverage", "vectors", "recall", "filter_recall", "self_retrieval"}
    assert checks["recall"].numbers["questions"] == 200
    assert checks["recall"].numbers["approximate"] == 1
    assert checks["recall"].numbers["recall_at_10"] >= 0.99


def candidate(tmp_path, vectors=None, **more):
    """A version of 60 passages that some harm was done to."""
    table = passages(60)
    if vectors is None:
        vectors = EMBEDDER.embed(table["text"].to_pylist())
    return build_version(
        tmp_path, table, vectors, embedder=EMBEDDER, options=OPTIONS, corpus_version="1", **more
    )


def test_a_document_without_passages_fails_coverage(tmp_path):
    info = candidate(tmp_path, documents=pa.array([f"d{i:05d}" for i in range(31)]))
    assert gates(info) == {"coverage"}
    assert [check.message for check in failed_gates(info.path)] == [
        "1 document without a passage, 0 not in the corpus, of 31."
    ]
    assert not info.passed


def test_a_passage_of_no_document_fails_coverage(tmp_path):
    assert gates(candidate(tmp_path, documents=pa.array([f"d{i:05d}" for i in range(29)]))) == {"coverage"}


def test_vectors_in_another_order_fail_self_retrieval(tmp_path):
    vectors = EMBEDDER.embed(passages(60)["text"].to_pylist())
    assert gates(candidate(tmp_path, np.roll(vectors, 1, axis=0))) == {"self_retrieval"}


@pytest.mark.parametrize("harm", [np.nan, np.inf, 0.0, 2.0])
def test_vectors_that_are_not_of_length_1_fail(tmp_path, harm):
    vectors = EMBEDDER.embed(passages(60)["text"].to_pylist())
    vectors[7] *= harm
    assert gates(candidate(tmp_path, vectors)) == {"vectors"}


def test_an_empty_index_fails_coverage(tmp_path):
    table = passages(1).slice(0, 0)
    info = build_version(
        tmp_path, table, np.empty((0, 64), np.float32), embedder=EMBEDDER, options=OPTIONS, corpus_version="1"
    )
    assert gates(info) == {"coverage"}
    assert Index.open(info.path, embedder=EMBEDDER).search("anything") == []


def test_the_overlap_with_the_live_version_is_reported(tmp_path):
    live = build(tmp_path, passages(60))
    same = build(tmp_path, passages(62), live=live.path)
    (overlap,) = [check for check in same.checks if check.name == "overlap"]
    assert overlap.passed
    assert overlap.numbers["overlap_at_10"] > 0.9
    renamed = passages(60).set_column(1, "document_id", pa.array([f"new{i}" for i in range(60)]))
    other = build(tmp_path, renamed, live=live.path)
    (overlap,) = [check for check in other.checks if check.name == "overlap"]
    # A warning blocks nothing.
    assert (overlap.passed, overlap.severity, other.passed) == (False, "warning", True)


def test_one_faiss_is_installed():
    """Several own the folder `faiss/` and overwrite each other's files."""
    assert len(set(importlib.metadata.packages_distributions()["faiss"])) == 1
