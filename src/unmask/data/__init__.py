"""Text in, packed tokens out: sources, tokenizers, prepared folders, and the order training reads them in."""
