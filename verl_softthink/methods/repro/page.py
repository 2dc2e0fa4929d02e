"""Process rewards on the page of traces: the piece of every token, and the reward of that piece."""

from verl_softthink.dump import DumpedResponse
from verl_softthink.methods.repro.fields import PIECE, REWARD
from verl_softthink.report.page_parts import PageParts


class ProcessRewardsOfPieces(PageParts):
    """Pieces of reasoning and their rewards, for dumps that have them."""

    def of_response(self, response: DumpedResponse) -> dict[str, object]:
        if PIECE not in response.extra:
            return {}
        pieces, rewards, length = response.extra[PIECE], response.extra.get(REWARD), len(response.trace)
        if len(pieces) != length or rewards is None or len(rewards) != length or not pieces.isfinite().all():
            raise ValueError(f"the response {response.key!r:.80} has not one piece and one reward for every token")
        return {"pieces": response.extra[PIECE].tolist(), "piece_rewards": response.extra[REWARD].tolist()}
