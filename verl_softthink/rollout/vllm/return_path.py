"""How trace rows leave the engine: one small contiguous array a request and step, joined by vLLM's own frontend.

``EngineCoreOutput.routed_experts`` is the one field of an engine output that is a numpy array, crosses the process
border without pickling, and is concatenated over a request's life by the frontend. Dense models never use it, and
``limits.check_engine`` refuses the engine setting that would. ``soft_rows`` on a runner's output maps request ids to
their rows of this step, ``soft_failures`` those that must end to the reason.

A request that failed, in the worker that takes it in or on the device that draws for it, is finished here as vLLM
finishes one of its own errors: ``finish_reason`` "error", with the sentence as its ``stop_reason``; the others go on.
"""

import functools
from collections.abc import Callable, Mapping

import torch
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.outputs import AsyncModelRunnerOutput
from vllm.v1.request import RequestStatus

from verl_softthink.rollout.vllm.prefix_cache import remember_fed
from verl_softthink.trace import FAILURES, failure_of_row


def attach_rows(output, rows: torch.Tensor, batch_rows: dict[int, int], copy_stream):
    """Attach packed rows [N, C] to a runner's output, for the soft requests of the batch: row to number of columns.

    An asynchronous output copies them on the stream that copies the sampled tokens.
    """
    event = None
    if isinstance(output, AsyncModelRunnerOutput) and rows.device.type != "cpu":
        event = torch.cuda.Event()
        copy_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(copy_stream):
            copied = rows.to("cpu", non_blocking=True)
            event.record()
    else:
        copied = rows.cpu()

    def attach(arrived, device_rows=rows) -> None:  # which must outlive the copy
        if event is not None:
            event.synchronize()
        host = copied.numpy()
        arrived.soft_rows = {arrived.req_ids[row]: host[row : row + 1, :count] for row, count in batch_rows.items()}

    return _once_arrived(output, attach)


def attach_failures(output, failures: dict[str, str]):
    """Attach to a runner's output the requests that could not be taken in, and why."""
    return _once_arrived(output, lambda arrived: setattr(arrived, "soft_failures", failures))


def _once_arrived(output, attach: Callable):
    if isinstance(output, AsyncModelRunnerOutput):
        return _AsyncOutputWith(output, attach)
    attach(output)
    return output


class _AsyncOutputWith(AsyncModelRunnerOutput):
    """Delegates to the wrapped output and attaches something to what it gives."""

    def __init__(self, inner: AsyncModelRunnerOutput, attach: Callable):
        self._inner = inner
        self._attach = attach

    def get_output(self):
        output = self._inner.get_output()
        self._attach(output)
        return output

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_inner"], name)


def install(scheduler_class: type) -> None:
    """Wrap ``Scheduler.update_from_output``: each request's rows of this step go into its engine output.

    What they say was fed goes into the hashes of the request's cache blocks, and requests that failed are finished.
    """
    update_from_output = scheduler_class.update_from_output

    @functools.wraps(update_from_output)
    def with_rows(self, scheduler_output, model_runner_output):
        rows = getattr(model_runner_output, "soft_rows", {})
        failures = dict(getattr(model_runner_output, "soft_failures", {}))
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
                        if failed := failure_of_row(output.routed_experts[0]):
                            failures[output.request_id] = f"softthink: {FAILURES[failed]}"
        if failures:
            _finish(self, outputs, failures)
        return outputs

    scheduler_class.update_from_output = with_rows


def _finish(scheduler, outputs: dict[int, EngineCoreOutputs], failures: Mapping[str, str]) -> None:
    """Finish the requests that failed, whether the step's own token has ended them or not."""
    alive = {name: scheduler.requests[name] for name in failures if name in scheduler.requests}
    scheduler.finish_requests(alive, RequestStatus.FINISHED_ERROR)
    for per_client in outputs.values():
        for output in per_client.outputs:
            if output.request_id in failures:
                output.finish_reason, output.stop_reason = FinishReason.ERROR, failures[output.request_id]
                alive.pop(output.request_id, None)
    # A prompt that is computed in chunks has no output yet.
    for request_id, request in alive.items():
        silent = EngineCoreOutput(request_id, [], finish_reason=FinishReason.ERROR, stop_reason=failures[request_id])
        outputs.setdefault(request.client_index, EngineCoreOutputs()).outputs.append(silent)
