"""Device-side memory of the soft requests of one engine: their settings and everything they have drawn so far.

A request owns a slot from its first schedule to its end, preemptions included: history is keyed by request and
output index, never by batch row. Batch rows without a soft request read and write row ``trash`` of every
table, so that no step needs a decision on the host or a boolean index.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from verl_softthink.laws import LAWS, NO_CANDIDATE
from verl_softthink.rollout.phase.history import PhaseHistory
from verl_softthink.rollout.phase.lead_in import MAX_FORCED
from verl_softthink.rollout.phase.markers import TextMarkers
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.settings_table import RowSettings, SettingsTable
from verl_softthink.rollout.to_device import to_device
from verl_softthink.thinking import MAX_MARKER, MAX_TEXT_BYTES, begun_part
from verl_softthink.trace import row_width


class SoftState:
    """Slots, settings and history.

    Args:
        slots: how many soft requests can live at once.
        length: longest response, in tokens.
        width: K, candidate slots per position.
        device: where the tables live.
        fed: (H, dtype) of the fed embeddings to keep; None where no request may ask for them. They are by far the
            largest table, slots * length * H numbers: what the keys and values of one layer with as many heads take.
    """

    def __init__(
        self,
        *,
        slots: int,
        length: int,
        width: int,
        device: torch.device,
        fed: tuple[int, torch.dtype] | None = None,
    ):
        self.slots, self.length, self.width, self.device = slots, length, width, device
        self.trash = slots
        rows = slots + 1

        def table(*shape: int, dtype: torch.dtype, fill: float = 0) -> Tensor:
            return torch.full((rows, *shape), fill, dtype=dtype, device=device)

        self.settings = SettingsTable(rows, device)
        #: Why a request cannot go on, as the largest ``REASON_*`` met: its mixture was not finite, or was not fed.
        self.fault = table(dtype=torch.int64)
        self.marker = table(MAX_MARKER, dtype=torch.int64, fill=-1)
        #: By how much of the marker has begun, in tokens or bytes.
        self.lead_in = table(MAX_TEXT_BYTES, MAX_FORCED, dtype=torch.int32, fill=-1)
        self.lead_in_length = table(MAX_TEXT_BYTES, dtype=torch.int32, fill=1)
        self.answer_prefix = table(MAX_FORCED, dtype=torch.int64, fill=-1)
        # History, one row a request and output index.
        self.ids = table(length, width, dtype=torch.int32, fill=NO_CANDIDATE)
        self.values = table(length, width, dtype=torch.float32)
        self.phases = PhaseHistory(rows, length, device)
        self.markers = TextMarkers(device)
        self.scale = table(length, dtype=torch.float32)
        self.seeds = table(length, dtype=torch.int64)
        self.fed = None if fed is None else table(length, fed[0], dtype=fed[1])

        #: Of every slot, on the host: positions of the response that the prompt ends with.
        self.soft_prefix_length = np.zeros(rows, dtype=np.int64)
        self._free = list(range(slots - 1, -1, -1))
        self._slot_of: dict[str, int] = {}
        self._requests: dict[str, SoftRequest] = {}
        #: The requests alive by ``_kind``, without seed and prefix: few kinds, however many requests.
        self._kinds: Counter[SoftRequest] = Counter()
        self._refresh()

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def nbytes(self) -> int:
        """Bytes of all tables on the device."""
        tables = (*vars(self).values(), *vars(self.phases).values())
        return self.settings.nbytes + sum(table.nbytes for table in tables if isinstance(table, Tensor))

    def slot(self, request_id: str, ordinary: int | None = None) -> int | None:
        """The slot of a request; ``ordinary`` for one that is not soft."""
        return self._slot_of.get(request_id, ordinary)

    def add(self, request_id: str, request: SoftRequest) -> None:
        """Give a request a slot; a request that comes back after preemption keeps its own.

        Raises:
            RuntimeError: when more requests live than the engine was sized for.
        """
        if request_id in self._slot_of:
            return
        if not self._free:
            raise RuntimeError(
                f"more than {self.slots} soft requests are alive; raise max_num_seqs, from which the number of soft "
                "slots is taken"
            )
        slot = self._free.pop()
        self._slot_of[request_id] = slot
        self._requests[request_id] = request
        kind = _kind(request)
        self._kinds[kind] += 1
        if self._kinds[kind] == 1:
            self._refresh()
        self.fault[slot] = 0
        self.soft_prefix_length[slot] = request.soft_prefix_length
        self.settings.write(slot, request, self.markers.number(request.marker_text))
        lists = (
            (self.marker[slot], request.marker),
            (self.answer_prefix[slot], request.answer_prefix),
        )
        for row, tokens in lists:
            row.copy_(to_device(_right_aligned([tokens], len(row))[0], self.device))
        parts = len(request.lead_ins)
        self.lead_in[slot, :parts] = to_device(_right_aligned(request.lead_ins, MAX_FORCED), self.device)
        self.lead_in_length[slot, :parts] = to_device(torch.tensor([*map(len, request.lead_ins)]).int(), self.device)

    def begun(self, request: SoftRequest, tokens: list[int]) -> int:
        """How much of a request's marker the tokens of its thought have begun: bytes of a text, or tokens."""
        if request.marker_text:
            return self.markers.behind(request.marker_text, torch.tensor(tokens, dtype=torch.int64))
        return begun_part(tokens, list(request.marker))

    def row_columns(self, request_id: str) -> int:
        """Columns of a request's packed rows: drawn embeddings only where it carries them."""
        embedding = self.fed.shape[-1] if self._requests[request_id].carries_embedding else 0
        return row_width(self.width, embedding)

    def drop(self, request_id: str) -> None:
        """Free the slot of a finished request; ordinary requests are ignored."""
        slot = self._slot_of.pop(request_id, None)
        if slot is not None:
            self._free.append(slot)
            kind = _kind(self._requests.pop(request_id))
            self._kinds[kind] -= 1
            if not self._kinds[kind]:
                del self._kinds[kind]
                self._refresh()

    def _refresh(self) -> None:
        """What a step must compute for the requests alive now; known on the host, so it costs no synchronisation."""
        alive = self._kinds.keys()
        self.laws_alive = tuple(sorted({request.law for request in alive}))
        laws = [LAWS[name] for name in self.laws_alive]
        declared = {parameter.name for law in laws for parameter in law.parameters if parameter.dtype is not None}
        self.parameters_alive = tuple(sorted(declared))
        drawn = [request for request in alive if LAWS[request.law].draws_embedding]
        #: What the means of drawn embeddings are over, "candidates" and "vocabulary".
        self.means_alive = {request.normalise_over for request in drawn}
        self.carries_embeddings = any(request.carries_embedding for request in drawn)
        #: Whether a shown token is drawn beside an embedding.
        self.draws_shown = any(LAWS[request.law].draws_shown(request.parameters) for request in drawn)
        self.rebuilds_embeddings = any(request.rebuilds_embedding for request in drawn)
        self.normalisers_alive = {request.normalise_over for request in alive}
        self.whole_vocabulary = any(law.whole_vocabulary for law in laws)
        self.fetch = max((max(self.width, request.top_k) for request in alive), default=self.width)
        # Rows without a soft request read the trash slot, whose top-k is 1.
        self.limited = all(request.top_k > 0 for request in alive)
        self.unit_temperature = all(request.temperature == 1 for request in alive)
        self.cold_stops = any(request.cold_length > 0 for request in alive)
        self.switching = any(request.switches > 0 for request in alive)
        self.needs_entropy = self.cold_stops or self.switching or any(request.record_entropy for request in alive)
        self.answer_prefixes = any(request.answer_prefix for request in alive)
        self.answer_budgets = any(request.answer_budget > 0 for request in alive)
        self.matches_tokens = any(not request.marker_text for request in alive)
        #: Texts that end thinking, of the requests that have one.
        self.texts_alive = {request.marker_text for request in alive if request.marker_text}
        self.matches_text = bool(self.texts_alive)
        #: Whether some marker that is matched by tokens can have begun without being complete.
        self.parts_tokens = any(not request.marker_text and len(request.marker) > 1 for request in alive)

    def read(self, slots: Tensor) -> RowSettings:
        """The settings of batch rows whose slots are [N]."""
        return self.settings.read(slots, self.parameters_alive)

    def at(self, slots: Tensor, index: Tensor) -> Tensor:
        """[N] where ``flat`` history tables have position ``index`` of ``slots``; the last position behind the end."""
        return slots * self.length + index.clamp(max=self.length - 1)


def _right_aligned(lists: Sequence[Sequence[int]], width: int) -> Tensor:
    """[N, width] int32 token lists, -1 in front."""
    return torch.tensor([[-1] * (width - len(tokens)) + list(tokens) for tokens in lists], dtype=torch.int32)


@lru_cache
def history_bytes(*, slots: int, length: int, width: int, fed: tuple[int, torch.dtype] | None) -> int:
    """Bytes of the tables of such a state, without making it."""
    meta = torch.device("meta")
    none, one = (SoftState(slots=n, length=length, width=width, fed=fed, device=meta).nbytes for n in (0, 1))
    return none + slots * (one - none)


def _kind(request: SoftRequest) -> SoftRequest:
    """The request without seed and prefix: all that decides what a step must compute; hashable."""
    return replace(request, seed=0, prefix=None)
