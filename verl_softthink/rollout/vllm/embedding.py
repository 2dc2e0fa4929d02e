"""The token embedding that can be told to feed mixtures: vLLM's own layer, replaced through its plug-in registry.

Rows of two persistent buffers say which input rows are soft and what is fed there. Their addresses never change, so
the layer may be captured in a CUDA graph or compiled; whoever prepares a step fills the buffers before it runs.
"""

import torch
from torch import Tensor
from vllm.config import get_current_vllm_config
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_reduce
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

from verl_softthink.laws import Law


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

    def forward(self, input_: Tensor) -> Tensor:
        hard = VocabParallelEmbedding.forward(self, input_)
        rows = input_.shape[0]
        return torch.where(self.soft_on[:rows].unsqueeze(-1), self.soft_rows[:rows], hard)

    def mix(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of token embeddings: ids [R, K], weights [R, K] float32 to [R, H] in the weight's dtype.

        Under tensor parallelism each rank sums the tokens of its own shard and the
        [R, H] partial sums are reduced: the collective does not grow with K.
        """
        if get_tensor_model_parallel_world_size() == 1:
            return Law.embed(weights, torch.nn.functional.embedding(ids, self.weight))
        start = self.shard_indices.org_vocab_start_index
        end = self.shard_indices.org_vocab_end_index
        mine = (ids >= start) & (ids < end)
        table = torch.nn.functional.embedding(torch.where(mine, ids - start, 0), self.weight)
        partial = Law.embed(torch.where(mine, weights, 0.0), table.float())
        return tensor_model_parallel_all_reduce(partial).to(self.weight.dtype)


def find_token_embedding(model: torch.nn.Module) -> SoftVocabParallelEmbedding:
    """The model's input embedding: the first soft embedding that is not an output head.

    Raises:
        RuntimeError: when the model builds its embedding from another class.
    """
    for name, module in model.named_modules():
        if type(module) is SoftVocabParallelEmbedding and "lm_head" not in name:
            return module
    raise RuntimeError(
        f"{type(model).__name__} has no VocabParallelEmbedding for its input tokens, so soft tokens cannot be fed "
        "to it; use a decoder-only text model, or send requests without extra_args['softthink']"
    )
