"""One run of a sweep, trained and scored in a process of its own; `job.py` starts it.

    (echo '{"recipe": "sweep/recipes/NAME.yaml", "resume": false, ...}'; cat) | python -m unmask.scaling.child

One line on stdin says what to do; the end of stdin says that whoever asked is gone, and is as good as a SIGTERM. What
it makes is a run folder like any other (`unmask train FOLDER --resume` goes on with it). A JSON object on stdout; exit
status 0, 2 for what a person can mend, 130 or 143 when told to stop, which saves a checkpoint first.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.scaling.best import best_on_the_way
from unmask.scaling.score import score
from unmask.terminal import say
from unmask.training.loop import train
from unmask.training.metrics import read_records
from unmask.training.record import chosen_recipe


def work(asked: dict[str, Any]) -> int:
    """Raises `UserError` as training and scoring do."""
    own = {"data": asked["data"], "threads": str(asked["threads"]), **asked["changes"]}
    recipe = chosen_recipe(asked["recipe"], own, asked["resume"])
    trained = train(recipe, resume=asked["resume"])
    if trained.signal:
        return 128 + trained.signal
    scored = None
    if asked["scoring"] is not None:
        out, entropy = Path(recipe.out), Path(asked["entropy"])
        scored = score(out, recipe.data, recipe.context, trained.steps, asked["scoring"], entropy, recipe.device)
        if asked["repeats"]:
            scored |= best_on_the_way(read_records(Path(recipe.out)), scored["loss"], trained.tokens, trained.steps)
    print(json.dumps({"trained": trained.to_dict(), "score": scored}))
    return 0


def stop_at_end_of(stream: int) -> None:
    """SIGTERM to this process, once, when a pipe (a file descriptor) ends.

    Linux's own notice of a parent's death (PR_SET_PDEATHSIG) comes again for each of its threads, and a second signal
    ends training without saving.
    """

    def watch() -> None:
        while os.read(stream, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    asked = sys.stdin.readline()
    stop_at_end_of(sys.stdin.fileno())
    try:
        return work(json.loads(asked))
    except UserError as error:
        say(f"unmask: error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
