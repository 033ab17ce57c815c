"""What may be written: spans, patterns, choices, bans, and where a row ends."""
