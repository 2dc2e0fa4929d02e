"""Policy losses registered with verl, one file each."""
