"""LlamaIndex: `index.to_llamaindex(k=5)` is a retriever for query engines and agents."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from indexing.adapters import metadata


class IndexRetriever(BaseRetriever):  # type: ignore[misc]  # llama_index is not typed here
    """Answers with nodes whose id is the chunk id and whose metadata is the rest of the hit."""

    def __init__(self, index: Any, **search: Any) -> None:
        super().__init__()
        self._index = index
        self._search = search

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._index.search(query_bundle.query_str, **self._search)
        return [
            NodeWithScore(
                node=TextNode(id_=hit.chunk_id, text=hit.text, metadata=metadata(hit)), score=hit.score
            )
            for hit in hits
        ]
