"""An index inside LangChain and LlamaIndex, judged by their own packages."""

import pytest

from schemas.errors import RuleError
from tests.indexes import library

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")
from langchain_tests.integration_tests import RetrieversIntegrationTests

from indexing.adapters.langchain import IndexRetriever


@pytest.mark.asyncio  # the suite's one asynchronous test has no mark of its own
@pytest.mark.filterwarnings("ignore:.*is marked with '@pytest.mark.asyncio'")
class TestLangChain(RetrieversIntegrationTests):
    """LangChain's published suite for retrievers."""

    @property
    def retriever_constructor(self):
        return IndexRetriever

    @property
    def retriever_constructor_params(self):
        return {"index": library()}

    @property
    def retriever_query_example(self):
        return "how do I reset the vpn"


def test_langchain_documents_carry_the_hit():
    retriever = library().to_langchain(k=3, where="language = 'de'")
    documents = retriever.invoke("vpn password")
    hits = library().search("vpn password", k=3, where="language = 'de'")
    assert [document.id for document in documents] == [hit.chunk_id for hit in hits]
    assert documents[0].page_content == hits[0].text
    assert documents[0].metadata["url"] == hits[0].url
    assert documents[0].metadata["stars"] == hits[0].columns["stars"]
    assert {document.metadata["language"] for document in documents} == {"de"}
    assert len(retriever.invoke("vpn password", k=7, mode="dense")) == 7
    with pytest.raises(RuleError):
        retriever.invoke("vpn", where="nonsense = 1")


def test_llamaindex_nodes_carry_the_hit():
    nodes = library().to_llamaindex(k=4, mode="dense").retrieve("vpn password")
    hits = library().search("vpn password", k=4, mode="dense")
    assert [node.node_id for node in nodes] == [hit.chunk_id for hit in hits]
    assert [node.score for node in nodes] == [hit.score for hit in hits]
    assert nodes[0].text == hits[0].text
    assert nodes[0].metadata["document_id"] == hits[0].document_id
