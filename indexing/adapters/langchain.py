"""LangChain: `index.to_langchain(k=5)` is a retriever for chains and agents."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from indexing.adapters import metadata


class IndexRetriever(BaseRetriever):  # type: ignore[misc]  # langchain_core is not typed here
    """Answers with documents whose id is the chunk id and whose metadata is the rest of the hit.

    Arguments of `Index.search` may be given here, and again with each `invoke`.
    """

    index: Any
    k: int = 5
    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    where: str | None = None
    exact: bool = False

    def _get_relevant_documents(self, query: str, *, run_manager: Any, **search: Any) -> list[Document]:
        arguments = {"k": self.k, "mode": self.mode, "where": self.where, "exact": self.exact, **search}
        hits = self.index.search(query, **arguments)
        return [Document(id=hit.chunk_id, page_content=hit.text, metadata=metadata(hit)) for hit in hits]
