"""Tensor-parallel processes on a CPU by fork: they begin with all imports, and with support/v2_on_cpu.py's changes.

vLLM's CPU platform spawns them, which costs an import of vLLM each. Forking is safe here, for the tests have one
thread. Import this after support.v2_on_cpu. For tests only.
"""

import multiprocessing

from vllm.v1.executor import multiproc_executor

multiproc_executor.get_mp_context = lambda: multiprocessing.get_context("fork")
