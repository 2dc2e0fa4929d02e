"""Soft rollouts: phase control and the soft step in plain torch, and what carries them into vLLM and verl.

request.py            one soft request: validated settings, resolved once
prefix.py             a soft prefix, which a request continues
state.py, step.py     the requests alive and their history on the device; one soft step for a batch
phase/                when thinking is soft, when it ends, and what follows
embedding.py          the input embeddings of soft positions
input_positions.py    the input rows of a batch that take them
to_device.py          host data on its way to the device
vllm/                 everything that touches vLLM
server.py, replica_registry.py     verl's vLLM server with soft traces; its registration
agent_loop.py, fields.py           verl's agent loop; a trace as fields of a row of verl's queue
"""
