"""The canvas: what is open, what is written, and the steps of each row. The lowest floor of decoding."""
