"""Everything that touches vLLM. ``plugin.py`` lists each touch; the mathematics is elsewhere."""
