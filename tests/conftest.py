"""The tests run on a CPU: verl and the plugin read the platform when they are imported."""

import os

os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# vLLM and verl compile a few helpers on first use: minutes of a C++ compiler that a test machine may not have.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
