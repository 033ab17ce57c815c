"""What a person sees of a generation: its trace, a page of it, and the canvas while it fills."""
