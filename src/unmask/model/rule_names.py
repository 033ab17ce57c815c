"""Names of the registered decoding rules, for help. Written by `python -m unmask.tables docs`; a test compares."""

ORDER = (
    "ancestral, first-hitting, confidence, top-probability, margin, entropy, high-entropy, random, "
    "left-to-right, dilated"
)
QUOTA = "paper, even, threshold:0.9, factor:1, entropy-bounded:0.1, klass, frechet:1, stability"
ELIGIBLE = "all, block:32, frontier:16"
REVISE = "remdm-cap:0.008, remdm-rescale:0.015, remdm-conf, remdm-loop, p2:1, edit, renoise:1"
GUIDANCE_SCHEDULE = "constant, linear, cosine, falling"
