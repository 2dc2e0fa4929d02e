"""The end-of-thinking marker of one tokenizer: its tokens, where they hide it, and whether prompts allow for it."""

from collections.abc import Iterable

from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.files.checkpoint import chat_text, load_tokenizer
from verl_softthink.thinking import EndOfThinking, closing_turn, marker_tokens, token_bytes

CHECK = "marker"
#: What a model may write right before and right behind any marker.
_BEFORE = ("x", "x.", "x\n", "x ")
_BEHIND = ("\n", "\n\n", "x", " x", "The")
#: Contexts of each side that are tried, and those that a sentence names.
_TRIED, _NAMED = 2000, 6


def marker_findings(model: str, marker: str | list[int] = "</think>", trust_remote_code: bool = False) -> list[Finding]:
    """Look at the tokenizer of a checkpoint; no weights are read."""
    try:
        tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
        ids = marker_tokens(tokenizer, marker, model)
        return [_in_context(tokenizer, marker, ids), *_prompts(tokenizer, marker)]
    except ValueError as error:
        return [failure(CHECK, str(error).strip().splitlines()[0])]


def hiding_contexts(tokenizer, marker: str) -> tuple[list[str], list[str]]:
    """Texts right before, and right behind, a marker with which its tokens are others, so that its ids are not found.

    Tried are what any model writes, and the rest of every token of the vocabulary that reaches over the marker's
    beginning or end, shortest first.
    """
    by_ids = EndOfThinking(tokenizer, marker, "tokens")
    texts = [written.decode(errors="ignore") for written in token_bytes(tokenizer, len(tokenizer))]
    before, behind = set(), set()
    for text in texts:
        for part in range(1, len(marker) + 1):
            if len(text) > part and text.endswith(marker[:part]):
                before.add(text[:-part])
            if len(text) > part and text.startswith(marker[-part:]):
                behind.add(text[part:])

    def hides(text: str) -> bool:
        return by_ids.find(tokenizer.encode(text, add_special_tokens=False)) is None

    return (
        [text for text in _shortest(before, _BEFORE) if hides(text + marker)],
        [text for text in _shortest(behind, _BEHIND) if hides(marker + text)],
    )


def _shortest(texts: Iterable[str], usual: tuple[str, ...]) -> list[str]:
    others = sorted(set(texts) - set(usual), key=lambda text: (len(text), text))
    return [*usual, *others[:_TRIED]]


def _in_context(tokenizer, marker: str | list[int], ids: list[int]) -> Finding:
    pieces = tokenizer.convert_ids_to_tokens(ids)
    count = "one token" if len(ids) == 1 else f"{len(ids)} tokens"
    what = f"{marker!r} is {count}: {ids} {pieces}"
    if not isinstance(marker, str):
        return ok(CHECK, f"{what}, matched as ids.")
    before, behind = hiding_contexts(tokenizer, marker)
    if not before and not behind:
        return ok(CHECK, f"{what}, whatever stands around it.")
    sides = [f"{side} {_named(texts)}" for side, texts in (("behind", before), ("before", behind)) if texts]
    return warning(
        CHECK,
        f"{what}; but its tokens are others {', and '.join(sides)}. softthink.phase.match=tokens would miss it there, "
        "and the model would go on thinking until softthink.phase.budget: leave match at null, which finds it in the "
        "text.",
    )


def _named(texts: list[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(map(repr, texts[:_NAMED])) + more


def _prompts(tokenizer, marker: str | list[int]) -> list[Finding]:
    if tokenizer.chat_template is None:
        return [
            warning(
                CHECK,
                "The tokenizer has no chat template, which verl needs for chat prompts: save one with the tokenizer.",
            )
        ]
    turn = closing_turn(tokenizer, marker)
    if turn is not None:
        return [
            warning(
                CHECK,
                f"The chat template itself writes the marker before the model's turn ({turn!r}), so no response would "
                "think; a run is refused: set +data.apply_chat_template_kwargs.enable_thinking=True or change the "
                "template.",
            )
        ]
    messages = [{"role": "user", "content": "x"}]
    end = chat_text(tokenizer, messages)[-40:]
    return [ok(CHECK, f"Prompts end with {end!r}; thinking begins right after.")]
