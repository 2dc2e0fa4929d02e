"""Process rewards on the page of traces: the piece of every token, and the reward of that piece."""

from verl_softthink.dump import DumpedResponse
from verl_softthink.methods.repro.fields import PIECE, REWARD
from verl_softthink.report.page_parts import PageParts


class ProcessRewardsOfPieces(PageParts):
    """Pieces of reasoning and their rewards, for dumps that have them."""

    def of_response(self, response: DumpedResponse) -> dict[str, object]:
        if PIECE not in response.extra:
            return {}
        return {"pieces": response.extra[PIECE].tolist(), "piece_rewards": response.extra[REWARD].tolist()}
