"""A BERT as an ONNX graph, made from its safetensors in a quarter of a second, without PyTorch.

Exporting the same model with torch.onnx takes half a minute, importing sentence-transformers 13 seconds;
`curate search` has neither. The graph uses ONNX Runtime's fused operators (com.microsoft): per layer one
attention, three matrix products, one GELU, two normalisations. Devlin et al. 2019, arXiv:1810.04805.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexing.model import Model
from schemas.errors import IndexingError, missing_extra

Floats = npt.NDArray[np.float32]
_FUSED = "com.microsoft"


class Bert:
    """A BERT with mean or cls pooling in ONNX Runtime, one thread a call: run batches side by side."""

    def __init__(self, model: Model) -> None:
        """Load the weights.

        Raises:
            IndexingError: the weights are not those of a BERT.
            MissingExtraError: onnx or onnxruntime is missing.
        """
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("index", "Embedding", "onnxruntime") from None
        self._pooling = model.pooling
        graph, weights = _graph(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(weight) for name, weight in weights.items()
        }
        options.add_external_initializers(list(self._weights), list(self._weights.values()))
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Pooled states, not normalised: float32 (n, d), of token ids with special tokens."""
        width = max(map(len, batch))
        ids, mask = np.zeros((len(batch), width), np.int32), np.zeros((len(batch), width), np.int32)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        # Pooling is a product with weights over positions: 1/n for the mean of n tokens, the first for cls.
        weights = np.zeros((len(batch), 1, width), np.float32)
        if self._pooling == "mean":
            weights[:, 0] = mask / mask.sum(axis=1, keepdims=True)
        else:
            weights[:, 0, 0] = 1
        pooled: Floats = self._session.run(None, {"ids": ids, "mask": mask, "weights": weights})[0]
        return pooled[:, 0]


def _graph(model: Model) -> tuple[bytes, dict[str, Floats]]:
    """The graph, and its weights beside it: they are handed over in memory and never copied into the file."""
    try:
        from onnx import TensorProto, helper
    except ImportError:
        raise missing_extra("index", "Embedding", "onnx") from None
    weights = _weights(model)
    layers, epsilon = int(model.config["num_hidden_layers"]), float(model.config.get("layer_norm_eps", 1e-12))
    node = helper.make_node
    nodes = [
        node(
            "EmbedLayerNormalization",
            ["ids", "", "words", "positions", "", "embed.scale", "embed.shift"],
            ["state0", "unused"],
            domain=_FUSED,
            epsilon=epsilon,
        )
    ]
    for i in range(layers):
        nodes += [
            node(
                "Attention",
                [f"state{i}", f"{i}.qkv", f"{i}.qkv.bias", "mask"],
                [f"{i}.context"],
                domain=_FUSED,
                num_heads=int(model.config["num_attention_heads"]),
            ),
            node("MatMul", [f"{i}.context", f"{i}.mix"], [f"{i}.mixed"]),
            node(
                "SkipLayerNormalization",
                [f"{i}.mixed", f"state{i}", f"{i}.mix.scale", f"{i}.mix.shift", f"{i}.mix.bias"],
                [f"{i}.attended"],
                domain=_FUSED,
                epsilon=epsilon,
            ),
            node("MatMul", [f"{i}.attended", f"{i}.up"], [f"{i}.wide"]),
            node("BiasGelu", [f"{i}.wide", f"{i}.up.bias"], [f"{i}.active"], domain=_FUSED),
            node("MatMul", [f"{i}.active", f"{i}.down"], [f"{i}.narrow"]),
            node(
                "SkipLayerNormalization",
                [f"{i}.narrow", f"{i}.attended", f"{i}.down.scale", f"{i}.down.shift", f"{i}.down.bias"],
                [f"state{i + 1}"],
                domain=_FUSED,
                epsilon=epsilon,
            ),
        ]
    nodes.append(node("MatMul", ["weights", f"state{layers}"], ["pooled"]))
    value, size = helper.make_tensor_value_info, int(model.config["hidden_size"])
    inputs = [
        value("ids", TensorProto.INT32, ["n", "t"]),
        value("mask", TensorProto.INT32, ["n", "t"]),
        value("weights", TensorProto.FLOAT, ["n", 1, "t"]),
    ]
    graph = helper.make_graph(nodes, "bert", inputs, [value("pooled", TensorProto.FLOAT, ["n", 1, size])])
    for name, weight in weights.items():
        tensor = graph.initializer.add(
            name=name, data_type=TensorProto.FLOAT, dims=weight.shape, data_location=TensorProto.EXTERNAL
        )
        for key, text in (("location", "memory"), ("offset", "0"), ("length", str(weight.nbytes))):
            tensor.external_data.add(key=key, value=text)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_FUSED, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(), weights


def _weights(model: Model) -> dict[str, Floats]:
    from safetensors.numpy import load_file

    stored = {
        name.removeprefix("bert."): weight
        for name, weight in load_file(model.folder / "model.safetensors").items()
    }

    def get(name: str) -> Floats:
        if name not in stored:
            raise IndexingError(
                f"The embedder {model.name!r} has no weights {name!r} in model.safetensors.",
                hint="Is it a BERT? Fetch the model again.",
            )
        return np.asarray(stored[name], np.float32)

    def product(name: str) -> Floats:
        return np.ascontiguousarray(get(f"{name}.weight").T)

    # All tokens of a passage have segment 0, so its embedding is added to the positions once.
    positions = (
        get("embeddings.position_embeddings.weight") + get("embeddings.token_type_embeddings.weight")[0]
    )
    weights = {"words": get("embeddings.word_embeddings.weight"), "positions": positions}
    weights["embed.scale"], weights["embed.shift"] = (
        get("embeddings.LayerNorm.weight"),
        get("embeddings.LayerNorm.bias"),
    )
    for i in range(int(model.config["num_hidden_layers"])):
        layer = f"encoder.layer.{i}"
        heads = [f"{layer}.attention.self.{name}" for name in ("query", "key", "value")]
        weights[f"{i}.qkv"] = np.ascontiguousarray(np.concatenate([product(head) for head in heads], axis=1))
        weights[f"{i}.qkv.bias"] = np.concatenate([get(f"{head}.bias") for head in heads])
        weights[f"{i}.up"], weights[f"{i}.up.bias"] = (
            product(f"{layer}.intermediate.dense"),
            get(f"{layer}.intermediate.dense.bias"),
        )
        for short, part in (("mix", f"{layer}.attention.output"), ("down", f"{layer}.output")):
            weights[f"{i}.{short}"], weights[f"{i}.{short}.bias"] = (
                product(f"{part}.dense"),
                get(f"{part}.dense.bias"),
            )
            weights[f"{i}.{short}.scale"], weights[f"{i}.{short}.shift"] = (
                get(f"{part}.LayerNorm.weight"),
                get(f"{part}.LayerNorm.bias"),
            )
    return weights
