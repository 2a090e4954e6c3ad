"""An index inside other frameworks. Each framework is imported in its own file, when it is asked for."""

from __future__ import annotations

from typing import Any

from schemas.errors import missing_extra


def langchain_retriever(index: Any, **search: Any) -> Any:
    """A LangChain `BaseRetriever`; see `Index.to_langchain`."""
    try:
        from indexing.adapters.langchain import IndexRetriever
    except ImportError:
        raise missing_extra("langchain", "The LangChain retriever", "langchain-core") from None
    return IndexRetriever(index=index, **search)


def llamaindex_retriever(index: Any, **search: Any) -> Any:
    """A LlamaIndex `BaseRetriever`; see `Index.to_llamaindex`."""
    try:
        from indexing.adapters.llamaindex import IndexRetriever
    except ImportError:
        raise missing_extra("llamaindex", "The LlamaIndex retriever", "llama-index-core") from None
    return IndexRetriever(index, **search)


def metadata(hit: Any) -> dict[str, Any]:
    """What frameworks carry beside the text of a hit: everything else, flat."""
    found = {name: value for name, value in vars(hit).items() if name not in {"text", "scores", "columns"}}
    return {**hit.columns, **found}
