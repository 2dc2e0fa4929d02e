"""How trace rows leave the engine: one small contiguous array a request and step, joined by vLLM's own frontend.

``EngineCoreOutput.routed_experts`` is the one field of an engine output that is a numpy array, crosses the process
border without pickling, and is concatenated over a request's life by the frontend. Dense models never use it, and
``limits.check_engine`` refuses the engine setting that would. ``soft_rows`` on a runner's output maps request ids to
their rows of this step.
"""

import functools

import numpy as np
import torch
from vllm.v1.outputs import AsyncModelRunnerOutput

from verl_softthink.rollout.vllm.prefix_cache import remember_fed


def attach_rows(output, rows: torch.Tensor, batch_rows: dict[int, int], copy_stream):
    """Attach packed rows [N, C] to a runner's output, for the soft requests of the batch: row to number of columns.

    An asynchronous output copies them on the stream that copies the sampled tokens.
    """
    if isinstance(output, AsyncModelRunnerOutput):
        return _AsyncOutputWithRows(output, rows, batch_rows, copy_stream)
    _attach(output, rows.cpu().numpy(), batch_rows)
    return output


def _attach(output, rows: np.ndarray, batch_rows: dict[int, int]) -> None:
    output.soft_rows = {output.req_ids[row]: rows[row : row + 1, :columns] for row, columns in batch_rows.items()}


class _AsyncOutputWithRows(AsyncModelRunnerOutput):
    """Delegates to the wrapped output and adds the rows once they have arrived."""

    def __init__(self, inner: AsyncModelRunnerOutput, rows: torch.Tensor, batch_rows: dict[int, int], copy_stream):
        self._inner = inner
        self._batch_rows = batch_rows
        self._event = None
        if rows.device.type != "cpu":
            # The device tensor must outlive the copy.
            self._device_rows = rows
            self._event = torch.cuda.Event()
            copy_stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(copy_stream):
                self._rows = rows.to("cpu", non_blocking=True)
                self._event.record()
        else:
            self._rows = rows

    def get_output(self):
        output = self._inner.get_output()
        if self._event is not None:
            self._event.synchronize()
        _attach(output, self._rows.numpy(), self._batch_rows)
        return output

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_inner"], name)


def install(scheduler_class: type) -> None:
    """Wrap ``Scheduler.update_from_output``: each request's rows of this step go into its engine output.

    What they say was fed goes into the hashes of the request's cache blocks.
    """
    update_from_output = scheduler_class.update_from_output

    @functools.wraps(update_from_output)
    def with_rows(self, scheduler_output, model_runner_output):
        rows = getattr(model_runner_output, "soft_rows", None) or {}
        for request_id, row in rows.items():
            # Before the tokens are appended, which may complete a block of the cache.
            if request_id in self.requests:
                remember_fed(self.requests[request_id], row)
        outputs = update_from_output(self, scheduler_output, model_runner_output)
        if rows:
            for per_client in outputs.values():
                for output in per_client.outputs:
                    if output.new_token_ids and output.request_id in rows:
                        output.routed_experts = rows[output.request_id]
        return outputs

    scheduler_class.update_from_output = with_rows
