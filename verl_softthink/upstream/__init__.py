"""What ties this package to verl and vLLM: import hooks, the table of symbols, and the check of both releases."""
