"""Side-by-side measurements behind `unmask bench`, one module a subject."""
