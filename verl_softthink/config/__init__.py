"""Validated settings: one node per recipe, checked before any worker starts."""
