"""What a run did: metrics, the page of soft traces, learning curves and summaries."""
