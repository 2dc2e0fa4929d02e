"""LoRA adapters under soft requests: one on the input embedding is refused.

vLLM adds such an adapter's difference to what the embedding gives, for the token that is shown: a mixture would be fed
with the difference of one token. What an adapter is on, its tensors' names say.
"""

import json
from pathlib import Path

from safetensors import safe_open
from vllm.lora.request import LoRARequest
from vllm.lora.utils import get_adapter_absolute_path

from verl_softthink.config.messages import shown

#: Of PEFT: parts of the names of tensors and modules of an input embedding.
_EMBEDDING_PARTS = ("lora_embedding_", "embed_tokens")
#: In paths, and in the names of repositories.
_OWNED = "/"
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def check_adapter(adapter: LoRARequest | None) -> None:
    """Refuse an adapter on the input embedding; one that is held in memory, as verl's, is checked by its run.

    verl names its own by a word: neither a folder nor a repository, which has an owner before its name.

    Args:
        adapter: of a soft request.

    Raises:
        ValueError: naming the adapter and what of it is in the way.
    """
    if adapter is None or not (_OWNED in adapter.lora_path or Path(adapter.lora_path).expanduser().is_dir()):
        return
    named = _names(Path(get_adapter_absolute_path(adapter.lora_path)))
    found = [name for name in named if any(part in name for part in _EMBEDDING_PARTS) and "lm_head" not in name]
    if found:
        raise ValueError(
            f"lora_request={shown(adapter.lora_name)} adapts the input embedding ({shown(found)}), through which "
            "mixtures are fed; use an adapter without it, or send the request without softthink"
        )


def _names(folder: Path) -> list[str]:
    """Tensors of an adapter, or the modules that it was made for where they are in another format."""
    if (folder / _WEIGHTS).is_file():
        with safe_open(folder / _WEIGHTS, framework="pt") as tensors:
            return list(tensors.keys())
    if (folder / _CONFIG).is_file():
        targets = json.loads((folder / _CONFIG).read_text(encoding="utf-8")).get("target_modules") or []
        return [targets] if isinstance(targets, str) else list(targets)
    return []
