"""What is frozen of `generate` and `score`: 60 settings of decoding rules, and every way to score.

Each setting names what it changes from the defaults; `test_traces.py` runs them with three seeds on the oracle and on a
small Transformer. Settings are never changed or taken out, since what they gave is recorded: new ones go at the end.
"""

from __future__ import annotations

from typing import Any

Setting = dict[str, Any]

# Each on prompts of its own, since what a rule does depends on how much it sees. 7 stands for a mask in a prompt.
PROMPTS: list[list[int]] = [[1, 2, 3], [4], [2, 2], [5, 7, 0, 7, 1], [0] * 9, [3, 1], []]

ORDERS: list[Setting] = [
    {"order": "ancestral", "steps": 5, "length": 14},
    {"order": "ancestral", "steps": 40, "length": 14},
    {"order": "ancestral", "steps": 6, "length": 15, "block": 5},
    {"order": "ancestral", "steps": 9, "length": 12, "temperature": 0.7, "top_p": 0.9},
    {"order": "first-hitting", "length": 9},
    {"order": "first-hitting", "length": 12, "block": 4, "top_k": 3},
    {"order": "confidence", "steps": 7, "length": 11},
    {"order": "confidence", "steps": 7, "length": 11, "temperature": 0.0},
    {"order": "confidence", "steps": 8, "length": 16, "block": 8, "quota": "even"},
    {"order": "confidence", "steps": 6, "length": 12, "order_noise": 0.5},
    {"order": "margin", "steps": 6, "length": 13, "quota": "even", "block": 5},
    {"order": "margin", "steps": 12, "length": 12, "temperature": 1.3},
    {"order": "entropy", "steps": 6, "length": 13},
    {"order": "entropy", "steps": 13, "length": 13, "temperature": 0.0, "block": 6},
    {"order": "high-entropy", "steps": 5, "length": 9, "top_k": 3},
    {"order": "random", "steps": 4, "length": 20},
    {"order": "random", "steps": 20, "length": 20, "temperature": 0.5},
    {"order": "left-to-right", "steps": 16, "length": 16},
    {"order": "left-to-right", "steps": 4, "length": 16, "quota": "even", "top_p": 0.8},
    {"order": "dilated", "steps": 8, "length": 17},
]
QUOTAS: list[Setting] = [
    {"order": "confidence", "quota": "threshold:0.6", "length": 14},
    {"order": "margin", "quota": "threshold:0.9", "length": 14, "steps": 6},
    {"order": "entropy", "threshold": 0.5, "quota": "threshold", "length": 12, "block": 4},
    {"order": "confidence", "quota": "factor:1.5", "length": 15},
    {"order": "confidence", "quota": "factor:0.5", "length": 15, "block": 5, "temperature": 0.0},
    {"order": "entropy", "quota": "entropy-bounded:0.4", "length": 15, "order_noise": 0.5},
    {"order": "confidence", "quota": "entropy-bounded:1.2", "length": 12},
    {"order": "margin", "quota": "klass:threshold=0.5,kl=0.05", "length": 14, "block": 7},
    {"order": "confidence", "quota": "klass", "length": 12},
    {"order": "random", "quota": "even", "steps": 5, "length": 18},
]
REVISIONS: list[Setting] = [
    {"order": "ancestral", "steps": 24, "length": 12, "revise": "remdm-cap:0.2"},
    {"order": "ancestral", "steps": 16, "length": 12, "revise": "remdm-rescale:0.3"},
    {"order": "ancestral", "steps": 20, "length": 10, "revise": "remdm-conf"},
    {"order": "ancestral", "steps": 24, "length": 12, "revise": "remdm-loop"},
    {"order": "confidence", "steps": 12, "length": 12, "revise": "remdm-cap:0.1", "quota": "even"},
    {"order": "confidence", "steps": 16, "length": 12, "revise": "p2", "quota": "even"},
    {"order": "margin", "steps": 12, "length": 12, "revise": "p2:0.5", "quota": "even"},
    {"order": "confidence", "quota": "factor:1.5", "length": 15, "revise": "edit:0.7", "block": 5},
]
GUIDANCE: list[Setting] = [
    {"order": "confidence", "steps": 7, "length": 11, "guidance": 0.6, "temperature": 0.7},
    {"order": "ancestral", "steps": 8, "length": 12, "guidance": -0.4},
    {"order": "first-hitting", "length": 6, "guidance": 1.2, "guidance_mode": "drop"},
    {"order": "confidence", "steps": 9, "length": 10, "guidance": 0.8, "guidance_schedule": "linear"},
    {"order": "entropy", "steps": 9, "length": 10, "guidance": 1.5, "guidance_interval": (0.2, 0.9)},
    {"order": "confidence", "steps": 8, "length": 12, "guidance": 0.5, "revise": "remdm-conf"},
]
CACHES: list[Setting] = [
    {"order": "confidence", "quota": "even", "steps": 12, "length": 14, "block": 7, "cache": "dual"},
    {"order": "margin", "quota": "even", "steps": 6, "length": 13, "block": 5, "cache": "dual:1"},
    {"order": "random", "steps": 4, "length": 20, "block": 6, "cache": "prefix:1", "guidance": -0.4},
    {"order": "confidence", "quota": "threshold:0.8", "length": 18, "block": 6, "cache": "prefix"},
    {"order": "high-entropy", "quota": "even", "steps": 9, "length": 9, "cache": "reuse"},
]
LIMITS: list[Setting] = [
    {"order": "left-to-right", "quota": "even", "length": 16, "eos": "truncate"},
    {"order": "random", "quota": "even", "length": 18, "eos": "stop", "temperature": 1.3},
    {"order": "confidence", "steps": 8, "length": 12, "eos": "suppress"},
    {"order": "ancestral", "steps": 8, "length": 12, "banned": [0, 3]},
    {"order": "confidence", "steps": 8, "length": 12, "forced": {0: 5, 7: 2}},
    {"order": "entropy", "steps": 8, "length": 12, "banned": [1], "forced": {11: 4}, "block": 4},
    {"order": "confidence", "steps": 6, "length": 2},
    {"order": "confidence", "quota": "even", "length": 24},
    {"steps": 10, "length": 12},
    {"length": 8},
    {"order": "dilated", "quota": "even", "steps": 7, "length": 21, "top_p": 0.7, "cache": "dual:2", "block": 7},
]
SETTINGS = [*ORDERS, *QUOTAS, *REVISIONS, *GUIDANCE, *CACHES, *LIMITS]

# Of the autoregressive twin, to which order and quota mean nothing.
TWIN: list[Setting] = [
    {"length": 14},
    {"length": 14, "temperature": 0.0},
    {"length": 14, "temperature": 0.7, "top_p": 0.9},
    {"length": 10, "top_k": 3, "banned": [2]},
    {"length": 12, "forced": {0: 5, 5: 1}},
    {"length": 20, "eos": "truncate"},
]

SCORES: list[Setting] = [
    {"method": method, "guidance": guidance, **more}
    for method, more in (
        ("mc-fixed", {"draws": 8}),
        ("mc-fixed", {}),
        ("mc-bernoulli", {"draws": 16}),
        ("chain-rule", {}),
        ("chain-rule", {"order": "right-to-left"}),
        ("chain-rule", {"order": "random", "draws": 3}),
        ("order-mixture", {"draws": 4}),
        ("exact", {}),
        ("mc-fixed", {"until_se": 0.3, "max_draws": 64, "greedy": True}),
    )
    for guidance in (0.0, 0.5)
]
PAIRS: list[tuple[list[int], list[int]]] = [
    ([1, 2, 3], [4, 5, 0, 1]),
    ([], [3, 3, 2]),
    ([6, 0, 1, 1], [2]),
    ([5], [0, 4, 0, 4, 0, 4]),
]
