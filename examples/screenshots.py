"""The pictures of the trace page in ``examples/images``: the same problems thought softly and discretely.

python examples/screenshots.py         needs Chromium (apt-get install chromium); about a minute on a CPU
"""

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from verl_softthink.pocket import checkpoint_path
from verl_softthink.standalone import choose_platform, vllm_engine

IMAGES = Path(__file__).parent / "images"
PROBLEMS = 2
#: Side by side: a temperature at which mixtures are wide enough to be seen (training uses 0.1), and ordinary tokens.
LAWS = {"soft": {"name": "gumbel", "tau": 0.5}, "discrete": {"name": "discrete"}}
WINDOW = "1500,1150"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: Blink's names for the preferred colour scheme.
_SCHEMES = {"dark": 0, "light": 1}


def write_dumps(folder: Path) -> tuple[Path, Path]:
    """One soft and one discrete response to each problem, as training would dump them."""
    from vllm import SamplingParams

    from verl_softthink.config.settings import LawSettings
    from verl_softthink.dump import DumpedResponse, dump_path, write_dump
    from verl_softthink.pocket.tasks import generate
    from verl_softthink.trace import unpack_rows

    settings = {
        "filter": {"top_k": 5, "top_p": 1.0, "max_topk": 5},
        "phase": {"end_of_thinking": "</think>", "budget": 56},
        "record_entropy": True,
        "seed": 3,
    }
    problems = generate("val", PROBLEMS, seed=3)
    with vllm_engine(checkpoint_path(), max_model_len=128, max_num_seqs=4, disable_log_stats=True) as llm:
        tokenizer = llm.get_tokenizer()
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": problem.question}], tokenize=False, add_generation_prompt=True
            )
            for problem in problems
        ]
        requests = {
            name: SamplingParams(
                max_tokens=64, temperature=1.0, seed=1, extra_args={"softthink": settings | {"law": law}}
            )
            for name, law in LAWS.items()
        }
        outputs = {name: llm.generate(prompts, params, use_tqdm=False) for name, params in requests.items()}
    paths = []
    for name, law in LAWS.items():
        responses = []
        for problem, output in zip(problems, outputs[name], strict=True):
            answer = output.outputs[0]
            text = tokenizer.decode(list(answer.token_ids), skip_special_tokens=True).strip()
            responses.append(
                DumpedResponse(
                    key=f"{problem.question}_0_0",
                    prompt_ids=torch.tensor(output.prompt_token_ids),
                    response_ids=torch.tensor(list(answer.token_ids)),
                    trace=unpack_rows(answer.routed_experts),
                    reward=float(text.endswith(str(problem.answer))),
                    answer=str(problem.answer),
                )
            )
        paths.append(dump_path(folder / name, 1))
        write_dump(responses, LawSettings(**law).model_dump(), paths[-1])
    return paths[0], paths[1]


def screenshot(browser: str, page: Path, image: Path, scheme: str) -> None:
    """A picture of a page in one colour scheme."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}"]
    flags += [f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}", f"--screenshot={image}"]
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run([browser, *flags, f"--user-data-dir={profile}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    browser = next((path for path in map(shutil.which, _CHROMIUM) if path), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(_CHROMIUM)} is installed: apt-get install chromium")
    choose_platform()
    from verl_softthink.report.overview import write_trace_page

    with tempfile.TemporaryDirectory() as folder:
        soft, discrete = write_dumps(Path(folder))
        page = Path(folder) / "trace.html"
        write_trace_page(soft, None, page, PROBLEMS, beside=discrete)
        IMAGES.mkdir(exist_ok=True)
        for scheme in _SCHEMES:
            screenshot(browser, page, IMAGES / f"trace_{scheme}.png", scheme)
    print("\n".join(str(path) for path in sorted(IMAGES.glob("trace_*.png"))))


# vLLM starts processes that import this file.
if __name__ == "__main__":
    main()
