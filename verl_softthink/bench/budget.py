"""Memory and time of a training step on 8 GPUs, computed and not measured: GRPO's share, and what soft thoughts add.

GRPO's share is the usual roofline: a decoding step reads weights, keys and values once, or is bound by arithmetic; a
token costs 2 N operations forward, 4 N backward, and attention. What soft thoughts add has, with K candidates of a
vocabulary V and a hidden size H:

    history     (8 K + 52) bytes a position, max_num_seqs * max_model_len positions, on the device beside the KV cache
    rows        4 (4 + 2 K) bytes a generated token, from the device to the host
    queue       8 K + 12 bytes a token with its log-prob, in the host memory of verl's queue
    look-up     K H numbers a soft position: in the model's type, and once more in float32, where they are summed
    gather      8 K bytes a position of a micro-batch, the ids that the density keeps for its gradient
    step        the soft step's kernels, launched one by one; its passes over the logits, B V float32 numbers

Upper bounds: every position is taken as soft, and nothing is overlapped. ``tests/bench`` holds each formula against the
tensors themselves.
"""

from dataclasses import dataclass

GIB = 2**30
_HALF, _FLOAT, _INT64 = 2, 4, 8
#: Bytes of FSDP's master weights, gradients and Adam's two moments of one parameter, all float32.
_TRAINED = 4 * _FLOAT
#: ``PhaseHistory``'s ten columns, a scale and a seed.
_HISTORY_BESIDE_CANDIDATES = 10 * _FLOAT + _FLOAT + _INT64
_ROW_HEADER = 4
#: Four flags, an entropy and a log-prob.
_QUEUE_BESIDE_CANDIDATES = 4 + 2 * _FLOAT
#: Kernels that a soft step of the law gumbel launches, at most; 302 operations are counted on a CPU.
STEP_KERNELS = 320
#: Seconds that the host takes to launch a kernel outside of a CUDA graph: the usual figure for PyTorch.
_LAUNCH_S = 5e-6
#: Times that a soft step reads or writes the batch's logits: top-k, normaliser, and a conversion to float32.
_LOGIT_PASSES = 4
#: Old policy, reference and the update's forward, recomputed forward and backward pass, in forward passes of a token.
_PASSES = 1 + 1 + 4
#: Of the peak, what large matrix products and long reads reach as a rule.
_COMPUTE_REACHED, _BANDWIDTH_REACHED = 0.4, 0.7


@dataclass(frozen=True)
class Shape:
    """A decoder of the Qwen2 kind: gated MLP, grouped keys and values, biases on queries, keys and values."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int

    @property
    def head_size(self) -> int:
        """Of queries, keys and values alike."""
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """All weights; input and output embedding are two tables."""
        grouped = self.key_value_heads * self.head_size
        attention = 2 * self.hidden**2 + 2 * self.hidden * grouped + self.hidden + 2 * grouped
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return 2 * self.vocabulary * self.hidden + self.layers * layer + self.hidden

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, half precision."""
        return 2 * self.layers * self.key_value_heads * self.head_size * _HALF


@dataclass(frozen=True)
class Machine:
    """GPUs of one kind. Of each: memory in bytes; bf16 operations, bytes of memory and bytes to the host a second."""

    name: str
    operations: float
    bandwidth: float
    to_host: float
    memory: float = 80e9
    gpus: int = 8


@dataclass(frozen=True)
class Run:
    """What ``recipes/soft_grpo/run_qwen_gpu.sh`` sets: one step's responses, their lengths, and a micro-batch."""

    responses: int = 64 * 8
    prompt: int = 1024
    longest: int = 8192
    #: Of the prompts and responses that are met, which only a measurement knows: half of the longest.
    mean_prompt: int = 512
    mean_response: int = 4096
    candidates: int = 5
    max_num_seqs: int = 256
    micro_batch_tokens: int = 2 * (1024 + 8192)


@dataclass(frozen=True)
class Share:
    """One line of the table: GRPO's amount, and what soft thoughts add to it."""

    name: str
    unit: str
    grpo: float
    added: float


def history_bytes(slots: int, length: int, candidates: int) -> int:
    """Of the engine's ``SoftState``, what grows with the positions; one row more than slots."""
    return (slots + 1) * length * ((_FLOAT + _FLOAT) * candidates + _HISTORY_BESIDE_CANDIDATES)


def row_bytes(candidates: int) -> int:
    """One packed row of a trace, from the device to the host."""
    return _FLOAT * (_ROW_HEADER + 2 * candidates)


def queue_bytes(candidates: int) -> int:
    """One position of a response in verl's queue."""
    return (_FLOAT + _FLOAT) * candidates + _QUEUE_BESIDE_CANDIDATES


def lookup_bytes(soft: int, candidates: int, hidden: int, size: int = _HALF) -> int:
    """Candidates' embeddings of ``soft`` positions: as looked up, numbers of ``size`` bytes, and in float32."""
    return soft * candidates * hidden * (size + _FLOAT)


def gather_bytes(positions: int, candidates: int) -> int:
    """Ids whose logits the density picks, kept for its gradient."""
    return positions * candidates * _INT64


def shares(shape: Shape, machine: Machine, run: Run) -> list[Share]:
    """Memory of one GPU, and seconds of one training step."""
    tokens, batch = run.micro_batch_tokens, run.responses // machine.gpus
    sharded = shape.parameters / machine.gpus
    added = lookup_bytes(tokens, run.candidates, shape.hidden) + gather_bytes(tokens, run.candidates)
    history = history_bytes(run.max_num_seqs, run.prompt + run.longest, run.candidates)
    held = tokens * (2 * shape.vocabulary + shape.layers * shape.hidden) * _HALF
    generated = run.responses * run.mean_response
    return [
        Share("weights, gradients, Adam, reference (FSDP)", "GiB", sharded * (_TRAINED + _FLOAT) / GIB, 0),
        Share("a micro-batch: logits, their gradient, checkpointed activations", "GiB", held / GIB, added / GIB),
        Share("vLLM: weights; history of soft requests", "GiB", shape.parameters * _HALF / GIB, history / GIB),
        Share("rollout", "s", *_rollout_seconds(shape, machine, run, batch)),
        Share("old log-probs, reference, update", "s", *_training_seconds(shape, machine, run, batch)),
        Share("traces: to the host, and in verl's queue (whole machine)", "GiB", 0, generated * _traffic(run) / GIB),
    ]


def _traffic(run: Run) -> int:
    return row_bytes(run.candidates) + queue_bytes(run.candidates)


def _attention_operations(shape: Shape, context: float) -> float:
    """Of one token forward: scores and mixed values over ``context`` positions."""
    return 4 * shape.layers * shape.hidden * context


def _rollout_seconds(shape: Shape, machine: Machine, run: Run, batch: int) -> tuple[float, float]:
    context = run.mean_prompt + run.mean_response / 2
    read = shape.parameters * _HALF + batch * context * shape.cache_bytes
    operations = batch * (2 * shape.parameters + _attention_operations(shape, context))
    bandwidth = machine.bandwidth * _BANDWIDTH_REACHED
    step = max(read / bandwidth, operations / (machine.operations * _COMPUTE_REACHED))
    logits = _LOGIT_PASSES * batch * shape.vocabulary * _FLOAT
    soft = STEP_KERNELS * _LAUNCH_S + logits / bandwidth + batch * row_bytes(run.candidates) / machine.to_host
    return run.mean_response * step, run.mean_response * soft


def _training_seconds(shape: Shape, machine: Machine, run: Run, batch: int) -> tuple[float, float]:
    length = run.mean_prompt + run.mean_response
    operations = 2 * shape.parameters + _attention_operations(shape, length / 2)
    plain = _PASSES * batch * length * operations / (machine.operations * _COMPUTE_REACHED)
    # Each look-up is written and read once, and its gradient as well.
    moved = 2 * _PASSES * lookup_bytes(batch * run.mean_response, run.candidates, shape.hidden)
    return plain, moved / (machine.bandwidth * _BANDWIDTH_REACHED)


SHAPES = (
    Shape("1.5B (DeepSeek-R1-Distill-Qwen-1.5B)", 28, 1536, 8960, 12, 2, 151936),
    Shape("7B (Qwen2.5-7B)", 28, 3584, 18944, 28, 4, 152064),
)
#: From NVIDIA's data sheets: dense bf16, HBM, and half of PCIe 4 and 5 with 16 lanes in both directions.
MACHINES = (
    Machine("8 A100 80 GB", 312e12, 2.04e12, 32e9),
    Machine("8 H100 80 GB", 989e12, 3.35e12, 64e9),
)


def table(run: Run | None = None) -> str:
    """The table in Markdown: GRPO's amount + what soft_grpo adds, for each shape on each machine."""
    columns = [(shape, machine, shares(shape, machine, run or Run())) for shape in SHAPES for machine in MACHINES]
    lines = ["| | " + " | ".join(f"{shape.name}, {machine.name}" for shape, machine, _ in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for row in zip(*(column for _, _, column in columns), strict=True):
        cells = [f"{share.grpo:.3g} + {share.added:.2g}" for share in row]
        lines.append(f"| {row[0].name}, {row[0].unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
