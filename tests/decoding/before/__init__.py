"""The engine as it was before its state became a table: what the new one is compared with."""
