"""The anchor's metric, under ``softthink/thought_anchor/``, and how to read it."""

from verl_softthink.report.metric_doc import MetricDoc

KL = "softthink/thought_anchor/kl"

ROWS = (
    MetricDoc(
        "thought_anchor/kl",
        "divergence of the policy's next-token distributions from the reference model's at soft positions, in nats, "
        "aggregated as the loss is: under token-mean over all response tokens, of which the others count 0",
        "0 in the first step, then below 0.05",
        "rising steadily: thoughts leave the reference's; raise softthink.thought_anchor.coefficient or lower the "
        "learning rate",
    ),
)
