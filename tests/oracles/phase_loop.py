"""Phase control as a slow loop over lists of tokens."""

from verl_softthink.rollout.phase.machine import (
    REASON_BAD_DRAW,
    REASON_BAD_LOGITS,
    REASON_BUDGET,
    REASON_COLD,
    REASON_MARKER,
    REASON_NONE,
    REASON_SWITCHES,
)
from verl_softthink.rollout.request import SoftRequest, resolve

STOP = 9
#: What tokens 0 to 3 write, where the marker is a text.
TEXTS = ["a", "b", "ab", "ba"] + [""] * 6
LAW, SAMPLER, PHASE = "law", "sampler", "phase"


def request(**phase) -> SoftRequest:
    text = phase.get("match") == "text"
    return resolve(
        {"phase": phase, "filter": {"top_k": 3, "max_topk": 3}, "seed": 0},
        max_tokens=1000,
        width=3,
        stop=STOP,
        tokenize=(lambda marker: [0] * len(marker)) if text else None,
    )


def reference(r: SoftRequest, shown, sampled, entropies, bad, bad_draw=()):
    """One request, token by token: (token, who forced it, fed soft, reason, cut) per step.

    Args:
        bad_draw: positions at which what the law draws is not finite.
    """
    tokens, steps = [], []
    mode, discrete, queue, answered, cold = "thinking", False, [], 0, 0
    block, reference_entropy, switches = 0, None, 0

    def complete(candidate):
        if r.marker_text:
            return "".join(TEXTS[t] for t in candidate).endswith(r.marker_text)
        return tuple(candidate[-len(r.marker) :]) == r.marker

    for index in range(len(shown)):
        reason = REASON_NONE
        if mode == "broken" or bad[index]:
            steps.append((STOP, PHASE, False, REASON_NONE if mode == "broken" else REASON_BAD_LOGITS, False))
            mode = "broken"
            continue
        if mode == "thinking" and discrete and complete(tokens):
            mode, queue, reason = "after", list(r.answer_prefix), REASON_MARKER
        entropy = entropies[index]
        if mode == "thinking":
            cold = cold + 1 if entropy < r.cold_entropy else 0
            if index >= r.budget:
                mode, queue, reason = "after", list(r.lead_in), REASON_BUDGET
            elif r.cold_length and cold >= r.cold_length:
                mode, queue, reason = "after", list(r.lead_in), REASON_COLD
            elif r.switches and block > 0:
                rises = discrete and block >= r.switch_window and entropy > reference_entropy
                falls = not discrete and entropy < reference_entropy
                if (rises or falls) and switches >= r.switches:
                    mode, queue, reason = "after", list(r.lead_in), REASON_SWITCHES
                elif rises or falls:
                    discrete, block, switches = not discrete, 0, switches + 1
        if mode == "thinking":
            if block == 0:
                reference_entropy = entropy
            block += 1
            if not discrete and index in bad_draw:
                steps.append((STOP, PHASE, False, REASON_BAD_DRAW, False))
                mode = "broken"
                continue
            token = sampled[index] if discrete else shown[index]
            ends = not discrete and complete([*tokens, token])
            if ends:
                mode, queue, reason = "after", list(r.answer_prefix), REASON_MARKER
            steps.append((token, SAMPLER if discrete else LAW, not discrete and not ends, reason, False))
            tokens.append(token)
        elif queue:
            steps.append((queue.pop(0), PHASE, False, reason, False))
        elif r.answer_budget and answered >= r.answer_budget:
            steps.append((STOP, PHASE, False, reason, True))
        else:
            steps.append((sampled[index], SAMPLER, False, reason, False))
            answered += 1
    return steps
