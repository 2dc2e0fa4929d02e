"""Tokens that a page must not trip over, and the law of the traces."""

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = '" onfocus="alert(1)'
MARKER = "</think>"
TAU, NOISE_SCALE = 0.5, 1.0
# A smiley in four bytes, a direction override, a NUL, and what would start a tag or end an attribute.
AWKWARD = ["🙂", "\u202e", "\0", "\n", "\t", "& <b>", SCRIPT, ATTRIBUTE, "a", MARKER, "4", "2"]
