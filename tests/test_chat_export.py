"""Training sets of conversations: what is recognised, what columns and templates give, and what is written."""

import json
import time
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.export.chat import COLUMNS, parse_template, prepare, write
from curate.export.dialogue import conversations_in, in_turn, may_hold
from curate.export.lines import plain
from schemas.errors import RecipeError
from schemas.export import ChatExport
from tests.dialogue_texts import FOUND, NONE
from tests.lakes import run, write_jsonl


def said(title, text):
    """What is said in each conversation, without system messages."""
    return [
        tuple(content for role, content in talk if role != "system")
        for talk in conversations_in(title, text)[1]
    ]


def table(*documents):
    """Rows of a shard as a writer gets them."""
    base = {"source": "files", "language": "en", "license": "CC0", "epoch": 0, "tokens": 0}
    rows = [
        {
            "id": f"d{n}",
            **base,
            **dict.fromkeys(COLUMNS, ""),
            **document,
            "extra": json.dumps(document.get("extra", {}), ensure_ascii=False),
        }
        for n, document in enumerate(documents)
    ]
    return pa.Table.from_pylist(rows)


def written(folder, *documents, **options):
    """The rows of one shard, by form, and what was said of it."""
    chosen = ChatExport(**options)
    told = write(table(*documents), chosen, folder / "train-00000-of-00001", {})
    rows = {
        form: [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        for form in chosen.formats
        if (path := folder / f"train-00000-of-00001.{form}.jsonl").exists()
    }
    return rows, told


def contents(row):
    return [message["content"] for message in row["messages"]]


# Recognition


def test_what_is_recognised_is_right_and_most_is():
    """On 40 texts with 54 conversations and 42 that look alike: precision 1, recall 5 in 6."""
    assert len(FOUND) + len(NONE) >= 40
    wanted = found = right = 0
    for title, text, conversations in [*FOUND, *((title, text, []) for title, text in NONE)]:
        got = said(title, text)
        assert [talk for talk in got if talk not in conversations] == [], (title, text)
        wanted, found, right = wanted + len(conversations), found + len(got), right + len(got)
    assert right / found == 1.0
    assert right / wanted >= 0.83


def test_a_look_alike_gives_nothing():
    assert [(title, got) for title, text in NONE if (got := said(title, text))] == []


def test_candidates_hold_all_that_is_found():
    texts = [(title, text) for title, text, _ in FOUND] + NONE
    frame = pl.DataFrame(texts, schema=["title", "text"], orient="row")
    kept = frame.with_columns(kept=may_hold())
    assert all(held for title, text, held in kept.iter_rows() if said(title, text))
    assert not pl.DataFrame({"title": ["Quay"], "text": ["Boats leave: at dawn."]}).select(may_hold()).item()


PIECES = st.sampled_from(
    ["User:", "Assistant: yes.", "**Q:** why?", "A: so.", "## What is this?", "# FAQ", "", "```", "- Customer: hi",
     "Agent: hello, how are you?", "Is it?", ": It is.", "System: be kind", "Manager: no", "frage: wo?", "Antwort: da",
     "### Answer", "a b c d e f g", "\u2028", "Q1. And?", "A. So.", "[10:00] User (me): ok?", "问：谁？", "答：我。"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=20), PIECES)
@settings(max_examples=300, deadline=None)
def test_whatever_the_text_a_conversation_is_one(pieces, title):
    text = "\n".join(pieces)
    form, talks = conversations_in(title, text)
    assert bool(form) == bool(talks)
    for talk in talks:
        roles = [role for role, _ in talk if role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
        assert all(role != "system" for role, _ in talk[1:])
        assert all(content.strip() for _, content in talk)
        again = in_turn(talk)
        assert again == talk
    if talks:
        assert pl.DataFrame({"title": [title], "text": [text]}).select(may_hold()).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "Q: " * 40_000,
        "Q: a?\n" * 20_000,
        "A: a.\nQ: b?\n" * 10_000,
        "# " + "# " * 40_000 + "x",
        "## a?\n" * 20_000,
        "# FAQ\n" + "## What is [[[[a?\n\nb\n" * 10_000,
        "# FAQ\n\n" + "What is that here?\n\nb\n\n" * 10_000,
        "?" + " " * 60_000 + "x",
        "[" * 60_000 + "?",
        "User:" + "\n" * 40_000 + "Assistant: b?",
        "User: a?\n" + "Assistant: a\nb: c\n" * 10_000,
    ],
    ids=range(11),
)
def test_a_hostile_text_takes_no_longer_than_a_long_one(text):
    begun = time.process_time()
    conversations_in(text[:60_000], text)
    assert time.process_time() - begun < 30  # a quadratic step takes minutes


def test_messages_in_turn():
    hi, answer = ("user", " Hi. "), ("assistant", "Yes.")
    assert in_turn([hi, answer]) == [("user", "Hi."), ("assistant", "Yes.")]
    assert in_turn([("system", "Be kind."), hi, answer])[0] == ("system", "Be kind.")
    assert in_turn([answer, hi, answer, hi]) == [("user", "Hi."), ("assistant", "Yes.")]  # cut at both ends
    assert in_turn([hi, ("user", "You?"), answer])[0] == ("user", "Hi.\n\nYou?")
    assert in_turn([hi, ("assistant", " "), hi, answer])[0] == ("user", "Hi.\n\nHi.")
    assert in_turn([hi, ("system", "Be kind."), answer]) == []  # a system message in the middle
    assert in_turn([hi]) == in_turn([answer]) == in_turn([("system", "Be kind.")]) == in_turn([]) == []


def test_a_question_is_asked_without_its_number_and_marks():
    assert plain("Q12. **What is [this](/x)?** ¶") == "What is this?"
    assert plain("2 + 2 = ?") == "+ 2 = ?"  # a known miss: a number before a space is a heading's


# Columns


MESSAGES = [
    {"role": "user", "content": "Wo ist der Hafen?"},
    {"role": "assistant", "content": "Am Ende der Straße. 🌊"},
]
SHAREGPT = [
    {"from": "human", "value": "Wo ist der Hafen?"},
    {"from": "gpt", "value": "Am Ende der Straße. 🌊"},
]


@pytest.mark.parametrize(
    "value",
    [
        MESSAGES,
        SHAREGPT,
        json.dumps(MESSAGES),  # JSON text, as Parquet and CSV files have it
        {"messages": MESSAGES},
        [{"role": "USER", "content": [{"type": "text", "text": "Wo ist der Hafen?"}]}, MESSAGES[1]],
    ],
    ids=["openai", "sharegpt", "text", "row", "parts"],
)
def test_messages_of_a_column_in_every_form(tmp_path, value):
    rows, told = written(tmp_path, {"text": "x", "extra": {"chat": value}}, messages="chat")
    assert contents(rows["openai"][0]) == ["Wo ist der Hafen?", "Am Ende der Straße. 🌊"]
    assert told.numbers["conversations_columns"] == 1


@pytest.mark.parametrize(
    "value",
    [
        "no json",
        "[1, 2]",
        [{"role": "user", "content": "Only a question."}],
        [{"role": "narrator", "content": "Once."}, *MESSAGES],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, MESSAGES[1]],
        [MESSAGES[0], {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
        [MESSAGES[0], {"role": "tool", "content": "42"}, MESSAGES[1]],
        [[[[[]]]]],
    ],
)
def test_a_column_without_a_conversation_is_told(tmp_path, value):
    """It is not replaced by what the template would make: the user said where the conversation is."""
    rows, told = written(
        tmp_path, {"text": "x", "extra": {"chat": value}}, messages="chat", user="Write something."
    )
    assert rows == {}
    assert told.dropped == {"bad_messages": 1}


def test_question_and_answer_columns(tmp_path):
    documents = [
        {"title": "Ports", "text": "Opens at six.", "extra": {"q": "When does it open?"}},
        {"title": "Ports", "text": "Opens at six.", "extra": {"q": " "}},
    ]
    rows, told = written(tmp_path, *documents, question="q", answer="text")
    assert [contents(row) for row in rows["openai"]] == [["When does it open?", "Opens at six."]]
    assert (told.taken, told.dropped) == (1, {"no_dialogue": 1})


def test_columns_come_first_then_structure_then_the_template(tmp_path):
    dialogue = "User: Is it open?\nAssistant: Yes, it is."
    documents = [
        {"text": dialogue, "extra": {"chat": MESSAGES}},
        {"text": dialogue},
        {"title": "Quay", "text": "The quay is empty."},
        {"title": "", "text": "The quay is empty."},
    ]
    rows, told = written(tmp_path, *documents, messages="chat", user="Describe {title}.")
    assert [row["id"] for row in rows["openai"]] == ["d0", "d1", "d2"]
    assert [contents(row)[0] for row in rows["openai"]] == [
        "Wo ist der Hafen?",
        "Is it open?",
        "Describe Quay.",
    ]
    assert told.dropped == {"empty_field": 1}
    assert told.numbers == {
        "conversations_columns": 1, "conversations_dialogue": 1, "conversations_template": 1,
        "messages": 6, "messages_trained_on": 3,
    }  # fmt: skip


def test_nested_columns_and_numbers_in_a_template(tmp_path):
    document = {"text": "x", "extra": {"meta": {"year": 1999}, "a.b": "dot"}}
    rows, _ = written(tmp_path, document, user="{{year}} {meta.year}, {a.b}", assistant="{text}{text}")
    assert contents(rows["openai"][0]) == ["{year} 1999, dot", "xx"]


def test_braces_in_a_text_are_no_field(tmp_path):
    rows, _ = written(tmp_path, {"title": "{text}", "text": "secret {url}"}, user="{title}")
    assert contents(rows["openai"][0]) == ["{text}", "secret {url}"]


# Files


def test_rows_of_both_forms(tmp_path):
    page = "## How do I pay?\n\nBy card.\n\n## Can I get my money back?\n\nWithin a month."
    rows, told = written(
        tmp_path, {"title": "FAQ", "text": page}, system=" Be {kind}. ", formats=["openai", "sharegpt"]
    )
    assert rows["openai"][1] == {
        "id": "d0",
        "ordinal": 1,
        "source": "files",
        "license": "CC0",
        "messages": [
            {"role": "system", "content": "Be {kind}.", "weight": 0},
            {"role": "user", "content": "Can I get my money back?", "weight": 0},
            {"role": "assistant", "content": "Within a month.", "weight": 1},
        ],
    }
    assert list(rows["openai"][0]) == ["id", "ordinal", "source", "license", "messages"]
    assert list(rows["sharegpt"][0]["conversations"][0]) == ["from", "value", "weight"]
    assert [message["from"] for message in rows["sharegpt"][0]["conversations"]] == ["system", "human", "gpt"]
    assert (told.rows, told.taken) == (2, 1)
    assert told.languages == {"en": 1}
    assert told.sources == {"files": 1}


def test_a_system_message_of_its_own_stays(tmp_path):
    own = [{"role": "system", "content": "Be brief."}, *MESSAGES]
    rows, _ = written(tmp_path, {"text": "x", "extra": {"chat": own}}, messages="chat", system="Be kind.")
    assert contents(rows["openai"][0])[0] == "Be brief."
    assert len(contents(rows["openai"][0])) == 3


def test_roles_that_are_trained_on_have_weight_one(tmp_path):
    rows, _ = written(
        tmp_path, {"title": "Quay", "text": "Empty."}, user="{title}", train_on=["user", "assistant"]
    )
    assert [message["weight"] for message in rows["openai"][0]["messages"]] == [1, 1]


def test_order_and_bytes_are_those_of_the_rows(tmp_path):
    """A shard of many parts; a document that is repeated stands as often as its epochs."""
    documents = [
        {"id": f"d{n % 2_100}", "title": f"{n}", "text": f"Text\u2028 {n} \x01 é"} for n in range(4_300)
    ]
    rows, told = written(tmp_path, *documents, user="{title}")
    assert [contents(row)[0] for row in rows["openai"]] == [f"{n}" for n in range(4_300)]
    assert told.rows == told.taken == 4_300
    first = (tmp_path / "train-00000-of-00001.openai.jsonl").read_bytes()
    assert first.count(b"\n") == 4_300
    assert "é".encode() in first
    written(tmp_path, *documents, user="{title}")
    assert (tmp_path / "train-00000-of-00001.openai.jsonl").read_bytes() == first


# Templates and columns of a recipe


@pytest.mark.parametrize("field", ["", " title", "title!r", "title:>9", "title[0]", "0:{title}"])
def test_a_field_is_a_bare_name(field):
    with pytest.raises(RecipeError) as caught:
        parse_template(f"Explain {{{field}}}.", "[exports.chat] user")
    assert "[exports.chat] user has the field" in caught.value.message


@pytest.mark.parametrize("template", ["Explain {title", "Explain title}", "}{"])
def test_a_lonely_brace(template):
    with pytest.raises(RecipeError, match="is no template") as caught:
        parse_template(template, "[exports.chat] user")
    assert "{{" in caught.value.hint


RECIPE = """
name = "harbour"

[sources.files]
files = "docs.jsonl"
license = "CC0-1.0"
keep = { topic = "string" }

[corpus.anonymize]

[exports.tuned]
kind = "chat"
messages = "talk"
user = "Explain {topic}: {title}."
"""
DOCUMENTS = [
    {"title": f"Page {n}", "topic": "sea", "text": f"Number {n}: boats leave before dawn."} for n in range(4)
] + [
    {
        "title": "Talk",
        "text": "A talk.",
        "topic": "land",
        "talk": {
            "messages": [
                {"role": "user", "content": "Write to otto.fischer@harbour.example, please."},
                {"role": "assistant", "content": "Sent to otto.fischer@harbour.example."},
            ]
        },
    },
    {
        "title": "Talk as text",
        "text": "Another talk.",
        "talk": json.dumps(
            {
                "messages": [
                    {"from": "human", "value": "To:\nanna@harbour.example"},
                    {"from": "gpt", "value": "Sent."},
                ]
            }
        ),
    },
]


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    """The session of a run, and the rows of its corpus."""
    folder = tmp_path_factory.mktemp("harbour")
    write_jsonl(folder / "docs.jsonl", DOCUMENTS)
    (folder / "curate.toml").write_text(RECIPE)
    sessions = []
    run(folder / "curate.toml", then=sessions.append)
    session = sessions[0]
    head = session.lake.head()
    columns = ["id", "source", "language", "license", *COLUMNS]
    rows = session.lake.read("harbour", "corpus", head).select(columns).sort("title").collect()
    return SimpleNamespace(session=session, head=head, rows=rows.with_columns(epoch=0, tokens=0).to_arrow())


def test_a_recipe_writes_without_personal_data(harbour, tmp_path):
    options = harbour.session.plan.recipe.exports["tuned"]
    context = prepare(harbour.session, harbour.head, options)
    told = write(harbour.rows, options, tmp_path / "train", context)
    text = (tmp_path / "train.openai.jsonl").read_text("utf-8")
    assert "@harbour" not in text
    rows = [json.loads(line) for line in text.splitlines()]
    assert contents(rows[0])[0] == "Explain sea: Page 0."
    assert "Sent to" in contents(rows[4])[1]
    assert contents(rows[5]) == ["To:\n<EMAIL_1>", "Sent."]  # read from JSON that lay in a string
    assert (told.taken, told.dropped) == (6, {})


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"user": "Explain {titel}."},
            '[exports.chat] user names the column "titel"',
            'Did you mean "title"',
        ),
        ({"user": "{title}", "assistant": "{txt}"}, "[exports.chat] assistant names", 'Did you mean "text"'),
        ({"user": "{title.__class__}"}, "title.__class__", 'Did you mean "title"'),
        ({"messages": "talks"}, "[exports.chat] messages", 'Did you mean "talk"'),
        ({"question": "topik", "answer": "text"}, "[exports.chat] question", 'Did you mean "topic"'),
    ],
)
def test_an_unknown_column_is_told(harbour, options, message, hint):
    with pytest.raises(RecipeError) as caught:
        prepare(harbour.session, harbour.head, ChatExport(**options))
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("column", ["talk.messages", "topic", "title", "license"])
def test_known_columns(harbour, column):
    assert prepare(harbour.session, harbour.head, ChatExport(messages=column, user="{" + column + "}")) == {}


# What reads the files

CHATML = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"


@pytest.mark.slow  # both libraries take seconds to import
def test_datasets_loads_and_a_chat_template_renders(tmp_path):
    datasets = pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "user": 1, "assistant": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    fast.chat_template = CHATML
    documents = [
        {"title": title, "text": text, "extra": {"chat": MESSAGES} if n % 3 == 0 else {}}
        for n, (title, text, _) in enumerate(FOUND)
    ]
    written(tmp_path, *documents, messages="chat", user="{text}", formats=["openai", "sharegpt"])
    loaded = {}
    for form, name in (("openai", "messages"), ("sharegpt", "conversations")):
        file = str(tmp_path / f"train-00000-of-00001.{form}.jsonl")
        loaded[form] = datasets.load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path))
        assert loaded[form].column_names == ["id", "ordinal", "source", "license", name]
        assert len(loaded[form]) > len(FOUND)
    for row in loaded["openai"]:
        text = fast.apply_chat_template(row["messages"], tokenize=False)
        assert text.count("<|im_start|>") == len(row["messages"])
        assert text.startswith(("<|im_start|>user\n", "<|im_start|>system\n"))
        assert text.endswith("<|im_end|>\n")
    assert fast.apply_chat_template(loaded["openai"][0]["messages"], tokenize=True)["input_ids"].count(2) == 1
