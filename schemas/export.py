"""The `[exports.NAME]` tables of a recipe: training sets made of a corpus.

A `kind` says what a row is: a document (`text`), a conversation (`chat`), a sequence of token ids
(`packed`), or a question with a passage that answers it and passages that do not (`pairs`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TRAIN = "train"  # the split that holds what the others do not name


class ExportOptions(BaseModel):
    """What all kinds of training sets share. All of it is in the version of an export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: str = Field(
        "",
        description="only documents for which this is true, over the columns of corpus: \"language = 'en'\"",
    )
    splits: dict[str, float] = Field(
        {"validation": 0.02},
        description="share of the near-duplicate clusters that each split takes; the rest is train",
    )
    mix: dict[str, float] = Field(
        {},
        description="weight of each source by tokens: a source that is too small is repeated by whole epochs, of one "
        "that is too large a part is drawn. Not given: every document once",
    )
    budget: int = Field(
        0,
        ge=0,
        description="tokens of the train split in all. 0: with mix as many as need no repetition, else all",
    )
    seed: int = Field(0, ge=0, description="of splits, draws and order")
    shard_mb: int = Field(
        256, ge=1, le=4096, description="about so many megabytes of text or token ids in a file"
    )
    decontaminate: list[str] = Field(
        [],
        description="files of evaluation data, relative to the recipe: documents that share a run of words with them are left out",
    )
    ngram: int = Field(13, ge=3, le=100, description="words of such a run (13 as in GPT-3)")

    @field_validator("decontaminate", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("mix")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        wrong = next((source for source, weight in value.items() if not 0 < weight < float("inf")), None)
        if wrong is not None:
            raise ValueError(f"the weight of {wrong} is {value[wrong]}, it has to be more than 0")
        return value

    @field_validator("splits")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if TRAIN in value:
            raise ValueError("train is what the other splits leave: name only those")
        for split, share in value.items():
            if not (split.isidentifier() and split.islower()):
                raise ValueError(f'a split is called "{split}"; use small letters, digits and _')
            if not 0 < share < 1:
                raise ValueError(f"the share of {split} is {share}, it has to lie between 0 and 1")
        if sum(value.values()) >= 1:
            raise ValueError(f"the shares are {sum(value.values()):g} in all and leave nothing for train")
        return value


class TextExport(ExportOptions):
    """A row is a document: id, text and metadata, as Hugging Face `datasets` loads it."""

    kind: Literal["text"] = Field("text", description="a row is a document")
    formats: list[Literal["parquet", "jsonl"]] = Field(
        ["parquet"], min_length=1, description="files to write"
    )


class ChatExport(ExportOptions):
    """A row is a conversation: dialogues and questions with answers, as found or through a template."""

    kind: Literal["chat"] = Field("chat", description="a row is a conversation")
    formats: list[Literal["openai", "sharegpt"]] = Field(
        ["openai"],
        min_length=1,
        description='JSONL with "messages" (role, content, weight), or with "conversations" (from, value, weight)',
    )
    messages: str = Field("", description="column with the messages of a document, in either form")
    question: str = Field("", description="column with a question, or with an instruction")
    answer: str = Field("", description="column with its answer")
    system: str = Field("", description="a system message that stands first")
    user: str = Field(
        "",
        description='template for a document without dialogue, as "Explain {title}."; not given: such a document is left out',
    )
    assistant: str = Field("{text}", description="template of the answer to `user`")
    train_on: list[Literal["assistant", "user", "system"]] = Field(
        ["assistant"], min_length=1, description="roles with weight 1, of which a model learns; others have 0"
    )

    @model_validator(mode="after")
    def _columns_fit(self) -> ChatExport:
        if bool(self.question) != bool(self.answer):
            raise ValueError("question and answer belong together: give both or none")
        return self


class PackedExport(ExportOptions):
    """A row is a sequence of `length` token ids of one or more documents, with its boundaries."""

    kind: Literal["packed"] = Field("packed", description="a row is a sequence of token ids")
    formats: list[Literal["parquet", "megatron", "npy"]] = Field(
        ["parquet"],
        min_length=1,
        description="files to write: Parquet, Megatron's .bin and .idx, memory maps",
    )
    length: int = Field(2048, ge=8, le=1_048_576, description="token ids of a sequence")
    end: str = Field(
        "",
        description='token that ends a document, as "<|endoftext|>"; not given: the one that the tokenizer names',
    )
    long: Literal["split", "drop"] = Field(
        "split", description="a document longer than a sequence is cut into several, or left out"
    )


class PairsExport(ExportOptions):
    """A row is a query, a passage that answers it, and passages that are near but do not."""

    kind: Literal["pairs"] = Field("pairs", description="a row is a query with passages")
    formats: list[Literal["parquet", "jsonl"]] = Field(
        ["parquet"], min_length=1, description="files to write"
    )
    negatives: int = Field(
        1, ge=0, le=32, description="hard negatives for each query, mined by the live index"
    )
    margin: float = Field(
        0.95,
        gt=0,
        le=1,
        description="a negative is at most this share as similar to the query as the positive (NV-Retriever)",
    )


Export = TextExport | ChatExport | PackedExport | PairsExport
EXPORTS: dict[str, type[TextExport | ChatExport | PackedExport | PairsExport]] = {
    "text": TextExport,
    "chat": ChatExport,
    "packed": PackedExport,
    "pairs": PairsExport,
}
