"""The token embedding that can be told to feed mixtures: vLLM's own layer, replaced through its plug-in registry.

Rows of two persistent buffers say which input rows are soft and what is fed there. Their addresses never change, so
the layer may be captured in a CUDA graph or compiled; whoever prepares a step fills the buffers before it runs.

Mixtures are found by their place in the batch. The layer therefore feeds them only to a lookup of the whole batch,
[T] ids or, in vLLM's Transformers backend, [1, T], and says afterwards that it has: any other lookup gets its tokens,
and the requests whose mixtures were due are ended.
"""

from types import ModuleType

import torch
from torch import Tensor
from vllm.config import get_current_vllm_config
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod, VocabParallelEmbedding

from verl_softthink.config.messages import shown
from verl_softthink.laws.gaussian import check_scale, mean_embedding, root_mean_square
from verl_softthink.rollout.vllm.limits import has_own_group


class SoftVocabParallelEmbedding(VocabParallelEmbedding):
    """``VocabParallelEmbedding`` with soft rows; an ordinary one as long as no row is marked."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Padding for CUDA graphs never exceeds the largest batch of tokens by more than the largest graph.
        config = get_current_vllm_config()
        rows = config.scheduler_config.max_num_batched_tokens + config.scheduler_config.max_num_seqs
        weight = self.weight
        self.register_buffer(
            "soft_rows",
            torch.zeros(rows, self.embedding_dim, dtype=weight.dtype, device=weight.device),
            persistent=False,
        )
        self.register_buffer("soft_on", torch.zeros(rows, dtype=torch.bool, device=weight.device), persistent=False)
        #: Rows of the batch whose mixtures are due, and whether a lookup of so many rows has come.
        self.register_buffer("due", torch.zeros((), dtype=torch.int64, device=weight.device), persistent=False)
        self.register_buffer("fed", torch.zeros((), dtype=torch.bool, device=weight.device), persistent=False)
        self._root_mean_square: Tensor | None = None

    def forward(self, input_: Tensor) -> Tensor:
        tokens = super().forward(input_)
        rows = input_.numel()
        if rows != input_.shape[-1] or rows > self.soft_on.shape[0]:
            return tokens
        whole = self.due <= rows
        self.fed.logical_or_(whole)
        on = self.soft_on[:rows] & whole
        return torch.where(on[:, None], self.soft_rows[:rows], tokens.view(rows, self.width)).view_as(tokens)

    def expect(self, rows: int) -> None:
        """Begin a batch of ``rows`` input rows, some of which will be soft."""
        self.due.fill_(rows)
        self.fed.zero_()

    @property
    def width(self) -> int:
        """H."""
        return self.embedding_dim

    @property
    def dtype(self) -> torch.dtype:
        """Of the table, and of everything that is fed."""
        return self.weight.dtype

    def weight_loader(self, *args, **kwargs) -> None:
        """vLLM's own; new weights, at the start and at every weight sync, have another scale."""
        super().weight_loader(*args, **kwargs)
        self._root_mean_square = None

    def mean(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of token embeddings: ids [R, K], weights [R, K] float32 to [R, H] float32.

        Under tensor parallelism each rank sums the tokens of its own shard and the
        [R, H] partial sums are reduced: the collective does not grow with K.
        """
        if self.tp_size == 1:
            return mean_embedding(weights, torch.nn.functional.embedding(ids, self.weight))
        start = self.shard_indices.org_vocab_start_index
        end = self.shard_indices.org_vocab_end_index
        mine = (ids >= start) & (ids < end)
        rows = torch.nn.functional.embedding(torch.where(mine, ids - start, 0), self.weight)
        return tensor_model_parallel_all_reduce(mean_embedding(torch.where(mine, weights, 0.0), rows))

    def vocabulary_mean(self, probs: Tensor) -> Tensor:
        """Weighted sums over the vocabulary: probs [N, V] float32 to [N, H] float32, each rank its own shard."""
        shard = self.shard_indices
        if self.tp_size == 1:
            return mean_embedding(probs, self._own_rows)
        own = probs[:, shard.org_vocab_start_index : shard.org_vocab_end_index]
        return tensor_model_parallel_all_reduce(mean_embedding(own, self._own_rows))

    def root_mean_square(self) -> Tensor:
        """sqrt(mean of E^2) over the vocabulary's entries, computed once for every set of weights.

        Raises:
            ValueError: when noise of that scale would not be as long as an embedding.
        """
        if self._root_mean_square is None:
            square = root_mean_square(self._own_rows).square() * self._own_rows.shape[0]
            if self.tp_size > 1:
                square = tensor_model_parallel_all_reduce(square[None])[0]
            else:
                check_scale(float((square / self.org_vocab_size).sqrt()), self._own_rows, gamma=1.0)
            self._root_mean_square = (square / self.org_vocab_size).sqrt()
        return self._root_mean_square

    @property
    def _own_rows(self) -> Tensor:
        """This rank's rows of the vocabulary, without padding and added adapters' tokens."""
        return self.weight[: self.shard_indices.num_org_elements]


def install_in_transformers_backend(utils: ModuleType) -> None:
    """Let embeddings of the Transformers backend that are of another class, like Gemma's with its scale, feed mixtures.

    It derives such a class from vLLM's layer instead of making one, so that no plug-in takes its place. Releases that
    cannot do so have one plain layer for all, and scale what it gives.
    """
    if not hasattr(utils, "_VocabParallelEmbeddingBase"):
        return

    class SoftVocabParallelEmbeddingBase(SoftVocabParallelEmbedding, utils._VocabParallelEmbeddingBase):
        """Ahead of ``nn.Embedding`` where a class that is derived from both looks for its ``forward``."""

    utils._VocabParallelEmbeddingBase = SoftVocabParallelEmbeddingBase
    utils.VocabParallelEmbedding = SoftVocabParallelEmbedding


def find_token_embedding(model: torch.nn.Module) -> SoftVocabParallelEmbedding:
    """The input embedding of the model, or of the language model inside it: its only soft embedding.

    Raises:
        RuntimeError: when it has none, as it builds its embedding from another class, or more than one, or when the
            table cannot be mixed.
    """
    # Towers of a multimodal model have embeddings of their own.
    language_model = model.get_language_model() if hasattr(model, "get_language_model") else model
    # A tied output head is the input embedding under another name.
    found = {
        module: name
        for name, module in language_model.named_modules()
        if isinstance(module, SoftVocabParallelEmbedding)
    }
    if len(found) != 1:
        raise RuntimeError(
            f"{type(model).__name__} has {shown(list(found.values()))} where it must have one VocabParallelEmbedding, "
            "through which all that it reads of its input tokens goes, so soft tokens cannot be fed to it; use a "
            "decoder-only text model, or send requests without extra_args['softthink']"
        )
    ((embedding, name),) = found.items()
    if not isinstance(embedding.quant_method, UnquantizedEmbeddingMethod) or has_own_group(embedding):
        raise RuntimeError(
            f"{name} of {type(model).__name__} holds its table with {type(embedding.quant_method).__name__}, or splits "
            "it over a group of its own, so its rows cannot be mixed; use a checkpoint whose embedding is not "
            "quantised, or send requests without extra_args['softthink']"
        )
    return embedding
