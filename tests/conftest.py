"""The tests run on a CPU: verl and the plugin read the platform when they are imported."""

import os

os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
