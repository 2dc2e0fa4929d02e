"""The end-of-thinking marker of one tokenizer: which tokens it is, in context too, and whether prompts allow for it."""

from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.files.checkpoint import load_tokenizer
from verl_softthink.thinking import marker_tokens

CHECK = "marker"
#: What a model may write right before and right after the marker.
_BEFORE = ("", "x", "x.", "x\n", "x ")
_AFTER = ("", "\n", "x", " x")


def marker_findings(model: str, marker: str | list[int] = "</think>", trust_remote_code: bool = False) -> list[Finding]:
    """Look at the tokenizer of a checkpoint; no weights are read."""
    try:
        tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
        ids = marker_tokens(tokenizer, marker, model)
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        return [failure(CHECK, reason)]
    return [_in_context(tokenizer, marker, ids), *_prompts(tokenizer, marker)]


def _in_context(tokenizer, marker: str | list[int], ids: list[int]) -> Finding:
    pieces = tokenizer.convert_ids_to_tokens(ids)
    count = "one token" if len(ids) == 1 else f"{len(ids)} tokens, matched as a sequence"
    what = f"{marker!r} is {count}: {ids} {pieces}"
    if not isinstance(marker, str):
        return ok(CHECK, f"{what}.")
    contexts = [(before, after) for before in _BEFORE for after in _AFTER]
    lost = [
        before + marker + after
        for before, after in contexts
        if not _contains(tokenizer.encode(before + marker + after, add_special_tokens=False), ids)
    ]
    if not lost:
        return ok(CHECK, f"{what}, whatever stands around it.")
    examples = ", ".join(repr(text) for text in lost[:3])
    advice = (
        "a model that writes it there goes on thinking until softthink.phase.budget. Choose a marker that is a special "
        "token, or give token ids and set the budget."
    )
    return warning(CHECK, f"{what}; but not within {examples} ({len(lost)} of {len(contexts)} contexts): {advice}")


def _contains(sequence: list[int], part: list[int]) -> bool:
    return any(sequence[start : start + len(part)] == part for start in range(len(sequence) - len(part) + 1))


def _prompts(tokenizer, marker: str | list[int]) -> list[Finding]:
    if tokenizer.chat_template is None:
        return [
            warning(
                CHECK,
                "The tokenizer has no chat template, which verl needs for chat prompts: save one with the tokenizer.",
            )
        ]
    messages = [{"role": "user", "content": "x"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    text = marker if isinstance(marker, str) else tokenizer.decode(marker)
    end = prompt[-40:]
    if text in prompt:
        return [
            warning(
                CHECK,
                f"The chat template itself writes the marker before the model's turn ({end!r}), so a model may take "
                "thinking for finished: set data.apply_chat_template_kwargs.enable_thinking=True or change the "
                "template.",
            )
        ]
    return [ok(CHECK, f"Prompts end with {end!r}; thinking begins right after.")]
