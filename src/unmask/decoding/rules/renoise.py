"""Uniform noise on a masked canvas: open positions show random tokens in place of the mask, new ones at each step.

    generate(model, prompts, order="ancestral", steps=64, revise="renoise")
    unmask sample RUN --prompt "The people of the" --order confidence --revise renoise:0.1

In uniform diffusion noise is not a mask but another token, and what has not been written is drawn anew from step to
step. Sampling such a model is unmasking and remasking of an absorbing process whose open positions show random tokens
(arXiv 2605.22765): the network says of each position what stands there given all others, whether these hold text or
noise. So order, quota, steps and blocks are those of any masked canvas, and this rule takes nothing back; it only says
what a pass is shown. Positions of later blocks show the mask.

`share` of the open positions, drawn with the tokens, show noise, the rest the mask: 1 is uniform noise, less a mixture
of both, as in GIDD. It is for models trained with such noise; a model that only knew masks takes noise for text.

Noise is a function of seed, row, step and position, from a stream of this rule's own: a row sees the same in any batch.

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

from unmask.decoding.rules.registry import parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision
from unmask.decoding.state.turn import Turn, stream

WHICH, WHETHER = stream("renoise: tokens"), stream("renoise: share")


@REVISIONS.register("renoise")
@dataclass(frozen=True)
class Renoise(Revision):
    """`share` of the open positions show random tokens in place of the mask, new ones each step (arXiv 2605.22765)."""

    needs_steps = False
    share: float = parameter(1.0, 0.0, 1.0)

    def before(self, turn: Turn) -> Before:
        tokens_RL = turn.random_tokens(WHICH)
        return Before(shows_RL=tokens_RL.where(turn.uniforms(WHETHER) < self.share, turn.canvas.mask_id))
