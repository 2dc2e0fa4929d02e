"""Watch the rollout while the trainer waits for it.

verl's trainer polls the TransferQueue until every prompt is finished or failed. A dead agent worker or a hung vLLM
engine produces neither, and the trainer polls for ever; a dead engine fails every session, which the trainer reports
as missing trajectories or, if some had finished before, pads away. The watch asks, on every poll, whether the vLLM
engines (through server, engine and worker) and the agent workers still answer.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from verl_softthink.liveness import limits

#: Seconds between two questions to one process, at least.
PROBE_EVERY_S = 5.0


class RolloutLost(RuntimeError):
    """A process that the rollout needs is dead or does not answer, or sessions failed."""


@dataclass
class Probe:
    """One question to one process, asked again and again, one at a time."""

    name: str
    ask: Callable[[], ObjectRef]
    asked_at: float = 0.0
    pending: ObjectRef | None = None


@dataclass
class RolloutWatch:
    """Health of vLLM servers and agent workers, by name.

    Args:
        servers: actors with verl's ``vLLMHttpServer.collective_rpc``.
        workers: any Ray actors.
        silence_s: longest wait for an answer; VERL_SOFTTHINK_SILENCE_TIMEOUT_S.
    """

    servers: Mapping[str, ActorHandle]
    workers: Mapping[str, ActorHandle]
    silence_s: float = field(default_factory=limits.silence_timeout_s, init=False)
    _probes: list[Probe] = field(init=False)

    def __post_init__(self) -> None:
        self._probes = [Probe(name, _engine_question(server)) for name, server in self.servers.items()]
        self._probes += [Probe(name, _actor_question(worker)) for name, worker in self.workers.items()]

    def check(self) -> None:
        """Look at the answers that are there and ask anew where it is time; does not wait.

        Raises:
            RolloutLost: a process is dead, its engine is dead, or it has been silent for too long.
        """
        for probe in self._probes:
            now = time.monotonic()
            if probe.pending is not None and not self._collect(probe) and now - probe.asked_at >= self.silence_s:
                raise self._silent(probe)
            if probe.pending is None and now - probe.asked_at >= PROBE_EVERY_S:
                probe.pending, probe.asked_at = probe.ask(), now

    def require_alive(self) -> None:
        """Ask everyone and wait for all answers, for ``silence_s`` at most.

        Raises:
            RolloutLost: as for :meth:`check`.
        """
        for probe in self._probes:
            probe.pending, probe.asked_at = probe.ask(), time.monotonic()
        for probe in self._probes:
            if not self._collect(probe, max(0.0, probe.asked_at + self.silence_s - time.monotonic())):
                raise self._silent(probe)

    def _collect(self, probe: Probe, wait_s: float = 0.0) -> bool:
        """Whether the pending question was answered within ``wait_s``."""
        answered, _ = ray.wait([probe.pending], timeout=wait_s)
        if answered:
            pending, probe.pending = probe.pending, None
            try:
                ray.get(pending)
            except RayError as error:
                raise RolloutLost(f"{probe.name} is dead: {_reason(error)}") from error
        return bool(answered)

    def _silent(self, probe: Probe) -> RolloutLost:
        return RolloutLost(
            f"{probe.name} has not answered for {self.silence_s:g} s ({limits.SILENCE}): it hangs, or "
            "is slower than that."
        )


def _engine_question(server: ActorHandle) -> Callable[[], ObjectRef]:
    return lambda: server.collective_rpc.remote("check_health")


def _actor_question(worker: ActorHandle) -> Callable[[], ObjectRef]:
    return lambda: worker.__ray_ready__.remote()


def _reason(error: RayError) -> str:
    cause = getattr(error, "cause", None) or error
    # Ray doubles the arguments of the error that it carries over.
    text = next((argument for argument in cause.args if isinstance(argument, str)), str(cause))
    first_line = text.strip().partition("\n")[0]
    return f"{type(cause).__name__}: {first_line}"
