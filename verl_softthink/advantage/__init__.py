"""Advantage estimators registered with verl, one file each."""
