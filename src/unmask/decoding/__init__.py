"""Decoding: one loop over a canvas (score, propose, select, revise), order rules, guidance, the autoregressive twin."""

from unmask.decoding.generate import generate, infill
from unmask.decoding.generation import Generation
from unmask.decoding.orders import ORDERS
from unmask.decoding.page import write_html
from unmask.decoding.quotas import QUOTAS
from unmask.decoding.trace import load_trace, save_trace
from unmask.decoding.watch import Watcher

__all__ = [
    "ORDERS",
    "QUOTAS",
    "Generation",
    "Watcher",
    "generate",
    "infill",
    "load_trace",
    "save_trace",
    "write_html",
]
