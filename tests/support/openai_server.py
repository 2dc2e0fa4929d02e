"""vLLM's OpenAI server around a running engine, in this process: bad soft requests are 400 with the sentence."""

import asyncio
import base64
import io
import json

import numpy as np

from verl_softthink.trace import unpack_rows

ROUTE = "/inference/v1/generate"
PROMPT = [5, 6, 7, 8]
GOOD = {"law": {"name": "gumbel"}, "phase": {"end_of_thinking": [3, 4], "budget": 6}, "seed": 1}
PREFIX = {"length": 1, "law": {"law": "gumbel"}, "rows": "AAAA", "seeds": None}
#: The value of ``extra_args["softthink"]``, and a key that the sentence must name.
BAD_SETTINGS = [
    (None, "softthink=None"),
    (7, "softthink=7"),
    ("gumbel", "softthink='gumbel'"),
    ("{" * 10**5, "softthink='{"),
    ([GOOD], "softthink=[{"),
    ({"lawn": {}}, "softthink.lawn={}: unknown key"),
    ({"x" * 10**5: 1}, "softthink.'xx"),
    ({f"key{number}": 1 for number in range(10**4)}, "and 9992 more problems"),
    ({"law": "gumbel"}, "softthink.law='gumbel'"),
    ({"law": {"name": "gumble"}}, "softthink.law.name='gumble'"),
    ({"law": {"name": "gumbel", "tau": "0.1"}}, "softthink.law.tau='0.1'"),
    ({"law": {"name": "gumbel", "tau": 0}}, "softthink.law.tau=0"),
    ({"law": {"name": "gaussian"}}, "carries_embeddings"),
    ({"filter": {"top_p": 2}}, "softthink.filter.top_p=2"),
    ({"filter": {"top_p": [0.5] * 10**5}}, "softthink.filter.top_p=[0.5, "),
    ({"filter": {"max_topk": 6}}, "softthink.filter.max_topk=6"),
    ({"phase": {"end_of_thinking": ""}}, "softthink.phase.end_of_thinking"),
    ({"phase": {"end_of_thinking": "no such word"}}, "softthink.phase: the tokenizer cannot produce"),
    # Half of a surrogate pair, which vLLM itself refuses.
    ({"phase": {"end_of_thinking": "\ud800"}}, "surrogates not allowed"),
    ({"phase": {"end_of_thinking": "x" * 10**5}}, "softthink.phase: the tokenizer cannot produce"),
    ({"phase": {"end_of_thinking": list(range(10**6))}}, "softthink.phase.end_of_thinking is 1000000 tokens long"),
    ({"phase": {"end_of_thinking": [10**9]}}, "softthink.phase.end_of_thinking has token ids [1000000000] outside"),
    ({"phase": {"end_of_thinking": [5] * 10**5, "match": "text"}}, "phase.match='text'"),
    ({"phase": {"budget": -1}}, "softthink.phase.budget=-1"),
    ({"phase": {"end_of_thinking": [3, 4], "budget": 10**6}}, "softthink.phase.budget=1000000"),
    ({"seed": 2**63}, "softthink.seed"),
    (GOOD | {"prefix": "AAAA"}, "softthink.prefix='AAAA'"),
    (GOOD | {"prefix": PREFIX}, "softthink.prefix.rows='AAAA'"),
    (GOOD | {"prefix": PREFIX | {"length": 2**63}}, "softthink.prefix.rows"),
    (GOOD | {"prefix": {}}, "softthink.prefix.length"),
]
#: Sampling settings beside good soft ones.
BAD_SAMPLING = [
    ({"bad_words": ["w9"]}, "bad_words=['w9'] in a soft request"),
    ({"logit_bias": {"9": 1.0}}, "logit_bias={9: 1.0}"),
    ({"logprobs": 3}, "logprobs=3"),
    ({"allowed_token_ids": list(range(5, 200))}, "allowed_token_ids=[5, 6, "),
    ({"structured_outputs": {"json": "{}"}}, "structured_outputs="),
    ({"n": 2, "temperature": 1.0}, "n=2"),
]
LONGEST_ANSWER = 6000


async def check_server(engine, model: str) -> None:
    """Send every bad request to the server, and behind each of them a good one.

    Args:
        engine: a running ``AsyncLLM`` of a tiny model.
        model: its folder.
    """
    import httpx
    from vllm.entrypoints.openai.api_server import build_app, init_app_state
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    args = make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", model])
    args.model = model
    app = build_app(args, ("generate",), engine.model_config)
    await init_app_state(engine, app.state, args, ("generate",))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=60) as client:

        async def ask(soft, sampling):
            params = {"max_tokens": 12, "temperature": 0.0, "ignore_eos": True, "extra_args": {"softthink": soft}}
            body = {"model": model, "token_ids": PROMPT, "sampling_params": params | sampling}
            # Escaped, as half of a surrogate pair can be sent in no other way.
            return await client.post(ROUTE, content=json.dumps(body), headers={"Content-Type": "application/json"})

        good = await ask(GOOD, {})
        assert good.status_code == 200, good.text
        first = good.json()["choices"][0]
        rows = np.load(io.BytesIO(base64.b64decode(first["routed_experts"])))
        assert unpack_rows(rows).soft.tolist() == [True] * 6 + [False] * 6

        cases = [(soft, {}, key) for soft, key in BAD_SETTINGS]
        cases += [(GOOD, sampling, key) for sampling, key in BAD_SAMPLING]
        for answer, (_, _, key) in zip(
            await asyncio.gather(*(ask(soft, sampling) for soft, sampling, _ in cases)), cases, strict=True
        ):
            assert answer.status_code == 400, f"{key}: {answer.status_code} {answer.text[:500]}"
            assert key in answer.json()["error"]["message"], f"{key}: {answer.text[:500]}"
            assert len(answer.text) <= LONGEST_ANSWER, key
        chat = await client.post(
            "/v1/completions",
            json={"model": model, "prompt": PROMPT, "max_tokens": 4, "vllm_xargs": {"softthink": "gumbel"}},
        )
        assert chat.status_code == 400 and "/inference/v1/generate" in chat.json()["error"]["message"], chat.text
        again = await ask(GOOD, {})
        assert again.json()["choices"][0]["token_ids"] == first["token_ids"]
