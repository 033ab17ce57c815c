"""The Hugging Face hub: one place decides whether it is asked, for data sets, tokenizers and the harness's tasks alike.

    settle()                                       # before huggingface_hub or datasets fetch anything
    raise UserError(f"hf:wikitext cannot be read: {reason(error)}")
    raise UserError(not_here("openai/gpt2", "give a run"))

With HF_HUB_OFFLINE set it is not asked at all. Otherwise it is asked once whether it answers, for 3 seconds at most;
where it does not, its libraries are told to take what lies in their caches and not to try, each of them, for half a
minute. Below every room.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

SECONDS = 3.0
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_said_no = False  # by `settle`, as against by the user


def switched_off() -> str | None:
    """The environment variable by which the user forbids the hub."""
    if _said_no:
        return None
    return next((name for name in SWITCHES if os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON")), None)


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def is_reachable() -> bool:
    """Whether the hub may be asked and answers."""
    return switched_off() is None and _answers(endpoint())


@cache
def _answers(address: str) -> bool:
    reached: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=SECONDS).close()
            reached.append(True)
        except urllib.error.HTTPError as error:  # an answer, unless it is a proxy's
            reached.append(error.code < 500 and error.code not in (403, 407))
        except (OSError, ValueError):
            reached.append(False)

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name knows no limit of its own
    thread.start()
    thread.join(SECONDS)
    return bool(reached and reached[0])


def settle() -> bool:
    """Whether the hub is asked from now on; where not, its libraries take what they have and fail at once."""
    if is_reachable():
        return True
    global _said_no
    if switched_off() is None:
        _said_no = True
        os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries not imported yet, and for processes of our own
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules:
            vars(sys.modules[module])["HF_HUB_OFFLINE"] = True
    return False


def reason(error: BaseException) -> str:
    """Why something of the hub could not be had, in half a line; `error` is what a library raised for it."""
    if (switch := switched_off()) is not None:
        return f"it is not on this machine, and {switch} is set, so that the hub is not asked"
    if not is_reachable():
        return f"it is not on this machine, and the hub ({endpoint()}) does not answer"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_name(text: str) -> bool:
    """Whether this looks like OWNER/NAME on the hub rather than like a path."""
    return NAME.fullmatch(text) is not None and not Path(text).parent.exists()


def not_here(path: str | Path, mend: str) -> str:
    """The line for a model's path that does not exist; names of the hub are told how they get here."""
    text = str(path)
    fetch = f" (a name on the hub? nothing is fetched here: hf download {text} --local-dir FOLDER)"
    return f"{text} does not exist{fetch if is_name(text) else ''}; {mend}"
