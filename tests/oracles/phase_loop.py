"""Phase control as a slow loop over lists of tokens and the text that they write."""

from verl_softthink.rollout.phase.lead_in import lead_ins_by_text
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
    return resolve(
        {"phase": phase, "filter": {"top_k": 3, "max_topk": 3}, "seed": 0},
        max_tokens=1000,
        width=3,
        stop=STOP,
        tokenize=lambda marker: ["ab".index(letter) for letter in marker],
        spell=lambda lead_in, marker: lead_ins_by_text(lead_in, marker.encode(), write, find),
    )


def write(token: int) -> bytes:
    return TEXTS[token].encode()


def find(written: bytes) -> int | None:
    return TEXTS.index(written.decode()) if written.decode() in TEXTS else None


def lead_in(r: SoftRequest, tokens: list[int]) -> list[int]:
    """What is forced behind a thought that is cut short: nothing of the marker that it has already begun."""
    if not r.marker_text:
        marker = list(r.marker)
        parts = [n for n in range(1, len(marker)) if tokens[-n:] == marker[:n]]
    else:
        marker, text = r.marker_text, "".join(TEXTS[t] for t in tokens)
        parts = [n for n in range(1, len(marker)) if text.endswith(marker[:n])]
    return list(r.lead_ins[max(parts, default=0)])


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
            return r.marker_text in "".join(TEXTS[t] for t in candidate)
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
                mode, queue, reason = "after", lead_in(r, tokens), REASON_BUDGET
            elif r.cold_length and cold >= r.cold_length:
                mode, queue, reason = "after", lead_in(r, tokens), REASON_COLD
            elif r.switches and block > 0:
                rises = discrete and block >= r.switch_window and entropy > reference_entropy
                falls = not discrete and entropy < reference_entropy
                if (rises or falls) and switches >= r.switches:
                    mode, queue, reason = "after", lead_in(r, tokens), REASON_SWITCHES
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
