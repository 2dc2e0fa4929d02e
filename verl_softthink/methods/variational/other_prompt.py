"""A second log-prob pass over the responses of a batch, after the prompt that its rows are not trained on.

Rows with the other prompt are written to a partition of their own in the TransferQueue, scored by the same engine at
the same temperature, and removed.
"""

import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.single_controller.ray import RayWorkerGroup
from verl.workers.utils.padding import response_from_nested

from verl_softthink.batch import clear, get, jagged
from verl_softthink.methods.variational.fields import OTHER_LOG_PROBS, OTHER_PROMPT

PARTITION = "softthink_other_prompt"
_READ = (OTHER_PROMPT, "responses", "response_mask")


def rows_after_other_prompt(data: TensorDict) -> TensorDict:
    """The engine's input for the same responses after ``OTHER_PROMPT``; jagged, in the order of the rows."""
    prompts, responses = data[OTHER_PROMPT].unbind(), data["responses"].unbind()
    sequences = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    return TensorDict(
        {
            "prompts": data[OTHER_PROMPT],
            "responses": data["responses"],
            "input_ids": jagged(sequences),
            "position_ids": jagged([torch.arange(len(sequence)) for sequence in sequences]),
            "response_mask": data["response_mask"],
            "loss_mask": data["response_mask"],
        },
        batch_size=len(sequences),
    )


def score(batch: KVBatchMeta, workers: RayWorkerGroup, temperature: float) -> None:
    """Add ``softthink_other_log_probs`` to every row of the batch.

    Args:
        batch: rows of posterior thoughts.
        workers: the actor's worker group.
        temperature: the rollout's, as in the ordinary log-prob pass.
    """
    data = get(batch.keys, batch.partition_id, _READ)
    scored = tq.kv_batch_put(keys=batch.keys, partition_id=PARTITION, fields=rows_after_other_prompt(data))
    scored.extra_info.update({"calculate_entropy": False, "compute_loss": False, "temperature": temperature})
    try:
        workers.compute_log_prob(scored)
        log_probs = get(batch.keys, PARTITION, ["log_probs"])["log_probs"]
    finally:
        clear(batch.keys, PARTITION)
    found = {OTHER_LOG_PROBS: response_from_nested(log_probs, data["response_mask"])}
    tq.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(found, batch_size=len(batch.keys))
    )
