"""Everything that touches vLLM; the mathematics is elsewhere.

plugin.py                      every change that is made to vLLM, listed
frontend.py, limits.py         requests are checked; engines and settings that soft requests cannot run with
adapters.py                    adapters on the input embedding are refused
embedding.py                   the token embedding that can be fed mixtures
memory.py                      the history of soft requests, reserved before the KV cache is sized
soft_runner.py                 what a model runner keeps for soft requests
runner_v1.py, runner_v2.py     the soft step in vLLM's two model runners
return_path.py                 how trace rows leave the engine
prefix_cache.py                cache keys that tell what was fed
"""
