"""Task files for lm-evaluation-harness over data on this machine, named `unmask_*`; `local_data` reads it."""
