"""The packaged language model by our kernels says what fastText says."""

import shutil

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.stage import Batch
from curate.models.opening import LID_176
from curate.stages.langid import LangidOptions, langid
from tests.hostile_texts import TEXTS
from tests.lakes import text

SAID = [
    "The harbour opens early, and boats leave before dawn.",
    "Der Hafen öffnet früh, und die Boote fahren vor der Dämmerung aus.",
    "Le port ouvre tôt et les bateaux partent avant l'aube.",
    "港は早く開き、船は夜明け前に出る。",
    "Гавань открывается рано, и лодки уходят до рассвета.",
    "ميناء يفتح مبكرا وتغادر القوارب قبل الفجر",
    "__label__en a word that is a label",
    "",
    " \n ",
    "a",
    "x" * 300,
    "12345 67890",
    *("a" * size for size in range(1, 40)),  # at the end of what may be read
    "x" * 5000 + " said",
    # long words of the model's own dictionary
    "https://en.wikipedia.org/w/index.php?title идентификаторы https://books.google.com/books?id relativetogroundrelativetoground",
]


def measured(texts, path=""):
    options = LangidOptions(model=str(path)) if path else LangidOptions()
    found = langid(Batch(pa.array(texts, pa.large_string())), options).measures
    return [(column, found[column].to_pylist()) for column in ("language", "score", "margin")]


def by_fasttext(texts, folder):
    """A copy of the packaged file is a model like any other, which fastText reads."""
    copy = folder / "model.ftz"
    if not copy.exists():
        shutil.copyfile(LID_176, copy)
    return measured(texts, copy)


def test_known_and_hostile_texts(tmp_path):
    texts = SAID + [make(n) for make in TEXTS.values() for n in (1, 40, 3000)] + [text(n) for n in range(50)]
    assert measured(texts) == by_fasttext(texts, tmp_path)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=8))
def test_any_text(tmp_path_factory, texts):
    folder = tmp_path_factory.getbasetemp()
    assert measured(texts) == by_fasttext(texts, folder)


def test_a_text_says_the_same_alone_and_among_others():
    together = dict(measured(SAID * 3))
    for at, one in enumerate(SAID):
        assert dict(measured([one])) == {column: [values[at]] for column, values in together.items()}
