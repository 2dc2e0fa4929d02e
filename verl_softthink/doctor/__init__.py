"""``verl-softthink doctor``: will it work here? Plain sentences, a status each, and an exit code.

findings.py       what a check says
versions.py       packages against what is supported, and the upstream symbols
switches.py       environment variables and entry points
libraries.py      libraries that do not import, each in a process of its own
platform_probe.py accelerator, attention back ends, the plugin in a verl process
marker.py         the end-of-thinking marker of a model's tokenizer
configuration.py  a verl configuration, composed and checked
lengths.py        prompt and response against the engine and the model
registrations.py  every registration of plugin.py, in this process
deep.py           a Ray worker, and a real vLLM engine
sampling.py       what is asked of that engine: the configuration's own prompts and requests
written.py        whether the responses contain what law and methods wait for
run.py            all of them, those with heavy imports as concurrent processes
"""
