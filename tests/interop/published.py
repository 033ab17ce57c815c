"""Two tiny models in the published SMDM layout and what plain NumPy computes with them: tests/fixtures/smdm.

    python tests/interop/published.py                    # draws the weights and writes the folder anew
    python tests/interop/published.py --check FOLDER     # holds the arithmetic here against another such folder

Nothing here is shared with the library, so that its backbone, chain rule and samplers have something to be held against
in a plain clone. The folder's files are those of the fixture that is handed beside the repository, where there is one.
Sizes are the smallest at which grouped queries, rotary tables and guidance all matter. Every choice that a greedy
decoder makes is clear by MARGIN: weights with a close call are drawn again.

Shapes: T tokens, E width, D head dimension, V vocabulary.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "smdm"
SIZES = {
    "n_layer": 2, "n_head": 4, "n_embd": 24, "n_query_groups": 2, "intermediate_size": 40, "vocab_size": 61,
    "padded_vocab_size": 61, "block_size": 64, "norm_eps": 1e-05, "rope_base": 10000, "mask_id": 61,
}  # fmt: skip
CHAIN = "chain_rule_nll(prefix=ids[i,:20], target=ids[i,20:20+n], i=0..2)"
SAMPLES = "greedy_samples(prompt=ids[0,:16], length=48)"
ARM = "arm_greedy(prompt=ids[0,:16], length=48)"
TARGET = "greedy_target(prefix=ids[1,:16], 6 tokens, most confident first)"
MARGIN = 1e-3  # in logits or log-probability


class CloseCall(Exception):
    """Two candidates too near each other for another order of sums to choose alike."""


class Network:
    """A pre-norm Transformer: RMS norm, rotary, grouped queries, SwiGLU; causal where there is no row for the mask."""

    def __init__(self, sizes: dict[str, Any], weights: dict[str, np.ndarray], rope: str) -> None:
        self.sizes = sizes
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.causal = len(weights["transformer.wte.weight"]) == len(weights["lm_head.weight"])
        self.width = sizes["n_embd"] // sizes["n_head"]
        half = np.arange(0, self.width, 2, dtype=np.float32)
        turns = np.float32(1) / np.float32(sizes["rope_base"]) ** (half / np.float32(self.width))
        angles = np.outer(np.arange(sizes["block_size"], dtype=np.float32), turns)
        tables = np.cos(angles), np.sin(angles)
        self.cos, self.sin = (bf16(table) if rope == "bf16" else table for table in tables)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.sizes["norm_eps"])
        return x / scale * self.weights[name]

    def turn(self, x_TD: np.ndarray) -> np.ndarray:
        first, second = np.split(x_TD, 2, axis=-1)
        cos, sin = self.cos[: len(x_TD)], self.sin[: len(x_TD)]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """[T, V]"""
        x = self.weights["transformer.wte.weight"][tokens]
        seen = np.tril(np.ones((len(tokens),) * 2, bool)) if self.causal else np.ones((len(tokens),) * 2, bool)
        queries = self.sizes["n_head"] // self.sizes["n_query_groups"]
        for layer in range(self.sizes["n_layer"]):
            name = f"transformer.h.{layer}."
            rows = self.norm(x, name + "norm_1.weight") @ self.weights[name + "attn.attn.weight"].T
            heads = []
            # In each group stand its queries, then its one key, then its one value.
            for group in np.split(rows, self.sizes["n_query_groups"], axis=1):
                parts = np.split(group, queries + 2, axis=1)
                key, value = self.turn(parts[-2]), parts[-1]
                for query in map(self.turn, parts[:-2]):
                    scores = np.where(seen, query @ key.T / np.sqrt(self.width), -np.inf)
                    heads.append(softmax(scores) @ value)
            x = x + np.concatenate(heads, axis=1) @ self.weights[name + "attn.proj.weight"].T
            h = self.norm(x, name + "norm_2.weight")
            gate, up = (h @ self.weights[f"{name}mlp.swiglu.{w}.weight"].T for w in ("w1", "w2"))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weights[name + "mlp.swiglu.w3.weight"].T
        return self.norm(x, "transformer.ln_f.weight") @ self.weights["lm_head.weight"].T

    def guided(self, tokens: list[int], prompt: int, w: float) -> np.ndarray:
        """Logits u + (1 + w)(c - u); u does not see the prompt."""
        seen = self.logits(tokens)
        if w == 0:
            return seen
        blind = self.logits([self.sizes["mask_id"]] * prompt + tokens[prompt:])
        return blind + (1 + w) * (seen - blind)


def bf16(x: np.ndarray) -> np.ndarray:
    """Rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def best(logits: np.ndarray) -> int:
    second, first = np.sort(logits)[-2:]
    if first - second < MARGIN:
        raise CloseCall
    return int(logits.argmax())


def chain_rule(net: Network, prefix: list[int], target: list[int], w: float) -> float:
    """-log p of the target from left to right, all later tokens masked."""
    total = 0.0
    for i, token in enumerate(target):
        tokens = prefix + target[:i] + [net.sizes["mask_id"]] * (len(target) - i)
        row = net.guided(tokens, len(prefix), w)[len(prefix) + i]
        total -= float(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
    return total


def commit(net: Network, tokens: list[int], prompt: int, w: float, count: int) -> None:
    """Writes the likeliest token at the `count` masked positions where it is surest."""
    mask = net.sizes["mask_id"]
    logp = np.log(softmax(net.guided(tokens, prompt, w)))
    places = sorted((p for p, token in enumerate(tokens) if token == mask), key=lambda p: -logp[p].max())
    if count < len(places) and logp[places[count - 1]].max() - logp[places[count]].max() < MARGIN:
        raise CloseCall
    for place in places[:count]:
        tokens[place] = best(logp[place])


def greedy_sample(net: Network, prompt: list[int], length: int, steps: int, w: float) -> list[int]:
    """The published sampler at temperature 0: of the masks left, the share 1 - s/t a step, the last takes all."""
    tokens = prompt + [net.sizes["mask_id"]] * length
    times = np.linspace(1, 1e-5, steps + 1, dtype=np.float32)
    for step in range(steps):
        left = tokens.count(net.sizes["mask_id"])
        share = float(1 - times[step + 1] / times[step])
        count = left if step == steps - 1 else int(left * share)
        if count:
            commit(net, tokens, len(prompt), w, count)
    return tokens


def arm_greedy(net: Network, prompt: list[int], length: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(length):
        tokens.append(best(net.logits(tokens)[-1]))
    return tokens


def greedy_target(net: Network, prefix: list[int], length: int, w: float) -> list[int]:
    """Masks filled one at a time, the surest first."""
    tokens = prefix + [net.sizes["mask_id"]] * length
    for _ in range(length):
        commit(net, tokens, len(prefix), w, 1)
    return tokens[len(prefix) :]


def computed(mdm: Network, arm: Network, ids: np.ndarray) -> dict[str, Any]:
    """expected.json, of models with fp32 tables. Raises `CloseCall`."""
    rows, prompt, prefix = ids.tolist(), ids[0, :16].tolist(), ids[1, :16].tolist()
    cases = list(zip(rows, (1, 5, 13), strict=True))
    ways = [(w, steps) for w in (0.0, 0.8) for steps in (4, 16, 32)]
    return {
        CHAIN: {
            str(w): [[chain_rule(mdm, row[:20], row[20 : 20 + n], w), n] for row, n in cases] for w in (0.0, 0.6, 1.1)
        },
        SAMPLES: {f"cfg{w}_steps{steps}": greedy_sample(mdm, prompt, 32, steps, w) for w, steps in ways},
        ARM: arm_greedy(arm, prompt, 32),
        TARGET: [{"cfg": w, "greedy_target": greedy_target(mdm, prefix, 6, w)} for w in (0.0, 1.1)],
    }


def random_weights(generator: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Large enough for every part to show in the logits."""
    e, f, v = SIZES["n_embd"], SIZES["intermediate_size"], SIZES["vocab_size"]
    fused = (SIZES["n_head"] + 2 * SIZES["n_query_groups"]) * e // SIZES["n_head"]
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (v, e), "transformer.wte.weight": (rows, e), "transformer.ln_f.weight": (e,),
    }  # fmt: skip
    for layer in range(SIZES["n_layer"]):
        name = f"transformer.h.{layer}."
        shapes |= {
            f"{name}norm_1.weight": (e,), f"{name}norm_2.weight": (e,), f"{name}attn.attn.weight": (fused, e),
            f"{name}attn.proj.weight": (e, e), f"{name}mlp.swiglu.w1.weight": (f, e),
            f"{name}mlp.swiglu.w2.weight": (f, e), f"{name}mlp.swiglu.w3.weight": (e, f),
        }  # fmt: skip
    drawn = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    for name, x in drawn.items():
        drawn[name] = 1 + 0.2 * x if x.ndim == 1 else x * (0.8 if "wte" in name else 1.6 / np.sqrt(x.shape[1]))
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def make(folder: Path) -> None:
    for seed in range(1000):
        generator = np.random.default_rng(seed)
        weights = {kind: random_weights(generator, SIZES["vocab_size"] + (kind == "mdm")) for kind in ("mdm", "arm")}
        ids = generator.integers(0, SIZES["vocab_size"], (3, 48))
        try:
            expected = computed(*(Network(SIZES, weights[kind], "fp32") for kind in ("mdm", "arm")), ids)
        except CloseCall:
            continue
        noisy = np.where(generator.random(ids.shape) < 0.5, SIZES["mask_id"], ids)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"ids": ids, "noisy": noisy} | all_logits(SIZES, weights, ids, noisy)
        save_file(tensors, folder / "tensors.safetensors")
        for kind, found in weights.items():
            save_file(found, folder / f"{kind}.safetensors")
        for file in folder.glob("*.safetensors"):
            file.chmod(0o644)  # the library makes them readable by their owner alone
        (folder / "config.json").write_text(json.dumps(SIZES, indent=1) + "\n", encoding="utf-8")
        (folder / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")
        print(f"{folder}: seed {seed}")
        return
    raise SystemExit("every seed has a close call")


def all_logits(sizes: Any, weights: Any, ids: np.ndarray, noisy: np.ndarray) -> dict[str, np.ndarray]:
    found = {}
    for kind, rows in (("mdm", noisy), ("arm", ids)):
        for rope in ("bf16", "fp32"):
            net = Network(sizes, weights[kind], rope)
            found[f"{kind}_logits_{rope}rope"] = np.stack([net.logits(row) for row in rows.tolist()]).astype(np.float32)
    return found


def differences(folder: Path) -> dict[str, float]:
    """The largest difference of each kind of number between a folder and what is computed here."""
    global MARGIN
    MARGIN = 0.0  # whatever was close there has been chosen
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "tensors.safetensors")
    weights = {kind: load_file(folder / f"{kind}.safetensors") for kind in ("mdm", "arm")}
    again = all_logits(sizes, weights, tensors["ids"], tensors["noisy"])
    found = {name: float(np.abs(value - tensors[name]).max()) for name, value in again.items()}
    mdm, arm = (Network(sizes, weights[kind], "fp32") for kind in ("mdm", "arm"))
    here = computed(mdm, arm, tensors["ids"])
    there = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    pairs = zip(sum(here[CHAIN].values(), []), sum(there[CHAIN].values(), []), strict=True)
    found["chain rule"] = max(abs(a - b) for (a, _), (b, _) in pairs)
    return found | {name: float(here[name] != there[name]) for name in (SAMPLES, ARM, TARGET)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        print(json.dumps(differences(Path(sys.argv[2])), indent=1))
    else:
        make(FOLDER)
