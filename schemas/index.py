"""The `[index]` table of a recipe: how passages are cut, embedded and searched."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class IndexOptions(BaseModel):
    """Options of an index. All of them are in its version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chunker: Literal["markdown", "sentences", "tokens"] = Field(
        "markdown",
        description="where passages end: at headings and blocks, at sentences, or only at the limit. On 276 questions "
        "of chunking_evaluation all find as much (recall 88 to 90 %); markdown is the most to the point",
    )
    chunk_tokens: int = Field(
        200,
        ge=32,
        le=32_768,
        description="most tokens of a passage, counted by the embedder with its special tokens. 200 was twice as "
        "precise as 400 at the same recall (chunking_evaluation, MiniLM)",
    )
    overlap: int = Field(
        0,
        ge=0,
        description="tokens that a passage repeats of the one before; 40 found no more on the same questions, and "
        "made a quarter more passages",
    )
    embedder: str = Field(
        "all-MiniLM-L6-v2",
        description="a sentence-transformers model: a folder, or a name on the Hugging Face hub (name@revision pins "
        "it). The default is English, small, and comes as a package",
    )
    query_prompt: str | None = Field(
        None, description="stands before a question; as the model states it if not given"
    )
    passage_prompt: str | None = Field(
        None, description="stands before a passage; as the model states it if not given"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the model's weights; vectors are float32 always. bfloat16 is for GPUs: a cosine of 0.9999 to "
        "float32, and on a CPU hardly faster than float32 in ONNX Runtime",
    )
    exact_below: int = Field(
        10_000,
        ge=0,
        description="fewer passages than this are searched exactly (0.5 ms a question); more of them through "
        "product-quantized codes (48 bytes a passage), the best compared again exactly",
    )
    min_recall: float = Field(
        0.99,
        gt=0,
        le=1,
        description="gate: share of the exact ten best that the search must find, over 200 sampled questions",
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> IndexOptions:
        if self.overlap > self.chunk_tokens // 2:
            raise ValueError(
                f"overlap is {self.overlap}; at most half of chunk_tokens ({self.chunk_tokens // 2}) is allowed"
            )
        return self
