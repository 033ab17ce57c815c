"""A made-up dictionary, so that the experiment can be tried anywhere: words of parts that say what they mean.

    made_glosses()[:1]      # [("overbinder", "One who, far too much, gladly ties with a cord; ...")]
    made_prose(400)         # other text in the same language, for a judge

A headword is a prefix, a stem and a suffix, and its gloss is spelled by them with wordings drawn by the seed: enough
that a model of some ten thousand parameters learns to define words it has not seen. No line of it is anybody's.
"""

from __future__ import annotations

import itertools

import numpy as np

PREFIXES = {
    "re": "once again", "un": "so as to undo it", "over": "far too much", "under": "not quite enough",
    "fore": "before the time", "mis": "in a wrong way", "out": "better than others", "up": "from below",
    "cross": "from side to side", "hand": "by hand alone", "night": "in the dark", "half": "only in part",
}  # fmt: skip
STEMS = {
    "bind": ("tie", "a cord"), "carv": ("cut", "a blade"), "drif": ("float", "a current"), "feed": ("nourish", "corn"),
    "gild": ("cover", "gold"), "haul": ("pull", "a rope"), "knit": ("join", "needles"), "lift": ("raise", "a lever"),
    "mend": ("repair", "thread"), "melt": ("soften", "heat"), "paint": ("dye", "a brush"), "plough": ("till", "oxen"),
    "reap": ("gather", "a sickle"), "roof": ("shelter", "straw"), "salt": ("keep", "brine"), "scour": ("clean", "sand"),
    "seal": ("close", "wax"), "sift": ("part", "a sieve"), "spin": ("twist", "a wheel"), "tann": ("cure", "bark"),
    "thatch": ("ward", "reeds"), "warm": ("heat", "a fire"), "weigh": ("judge", "a scale"), "wind": ("coil", "a crank"),
}  # fmt: skip
SUFFIXES = {
    "er": "One who, {how}, {kind} {verb}s with {tool}",
    "able": "That can, {how}, {kind} {verb} with {tool}",
    "ing": "The act to, {how}, {kind} {verb} with {tool}",
    "ness": "The state to, {how}, {kind} {verb} with {tool}",
    "ment": "A thing to, {how}, {kind} {verb} with {tool}",
}
KINDS = ("gladly", "often", "slowly", "at sea", "at home", "of old", "in haste", "for hire", "by law", "in jest")
TAILS = (
    "especially in the country, or at sea, in former times, and of old",
    "also, by extension, anything of that kind, great or small, at home",
    "said of persons, and sometimes of things, mostly in a low sense",
)


def made_glosses(seed: int = 0) -> list[tuple[str, str]]:
    """(headword, gloss), each headword once, in an order of the seed."""
    rng = np.random.default_rng(seed)
    pairs = []
    for prefix, stem, suffix in itertools.product(PREFIXES, STEMS, SUFFIXES):
        verb, tool = STEMS[stem]
        kind, tail = KINDS[rng.integers(len(KINDS))], TAILS[rng.integers(len(TAILS))]
        opening = SUFFIXES[suffix].format(verb=verb, tool=tool, how=PREFIXES[prefix], kind=kind)
        pairs.append((prefix + stem + suffix, f"{opening}; {tail}."))
    return [pairs[i] for i in rng.permutation(len(pairs))]


def made_prose(sentences: int, seed: int = 1) -> list[str]:
    """Documents of running text with the same words, and no gloss among them."""
    rng = np.random.default_rng(seed)
    tools, verbs = [tool for _, tool in STEMS.values()], [verb for verb, _ in STEMS.values()]
    hows = list(PREFIXES.values())
    lines = []
    for _ in range(sentences):
        verb, tool, how, kind = (str(rng.choice(some)) for some in (verbs, tools, hows, KINDS))
        line = (
            f"In former times men would {kind} {verb} with {tool}, {how}, and it was known to all.",
            f"He was made to {verb} a thing with {tool}, {how}, {str(rng.choice(TAILS)).partition(',')[0]}.",
            f"The act was done, {how}; one who would {kind} {verb} with {tool} was fit, {rng.choice(KINDS)}.",
        )[rng.integers(3)]
        lines.append(line)
    return [" ".join(lines[i : i + 12]) for i in range(0, len(lines), 12)]
