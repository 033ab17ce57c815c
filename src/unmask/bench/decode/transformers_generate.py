"""transformers' `generate` on the weights of one of our ARMs: what the autoregressive twin is measured against.

    theirs = TransformersGenerate(model)                                # exported in the Llama layout, loaded again
    rows = theirs.generate([[1, 5, 7], [9]], length=64, temperature=0.0)    # the new ids of each prompt

The static cache is allocated once for a shape of batch, as ours is; nothing is compiled on either side. Prompts of
different lengths are padded on the left, which is how `generate` takes them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from unmask.errors import UserError
from unmask.interop.llama import export_llama
from unmask.model.folder import Model, save


class TransformersGenerate:
    """A model of ours as transformers' `LlamaForCausalLM`, in fp32 on the CPU. Raises `UserError` for an MDM."""

    def __init__(self, model: Model) -> None:
        if model.kind != "arm":
            raise UserError("the model is a masked diffusion model; transformers' generate needs an autoregressive one")
        from transformers import LlamaForCausalLM

        self.eos_ids = model.config.eos_ids
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder) / "model", model.network, model.tokenizer)
            exported = export_llama(Path(folder) / "model", Path(folder) / "llama")
            self.network = LlamaForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
            # In memory of their own: in the file they need not be aligned as fast products like them, and it goes away.
            for parameter in self.network.parameters():
                parameter.data = parameter.data.clone()

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        length: int,
        temperature: float = 1.0,
        cache: str | None = "static",
        stop_at_eos: bool = False,
        seed: int = 0,
    ) -> list[list[int]]:
        """`length` new ids of each prompt; with `stop_at_eos` a row ends with its first end of sequence.

        cache: `cache_implementation` of transformers; None is its default, which grows. No top-k or top-p.
        """
        width = max(len(prompt) for prompt in prompts)
        tokens_BT = torch.zeros(len(prompts), width, dtype=torch.int64)
        given_BT = torch.zeros_like(tokens_BT)
        for row, prompt in enumerate(prompts):
            tokens_BT[row, width - len(prompt) :] = torch.tensor(prompt)
            given_BT[row, width - len(prompt) :] = 1
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        torch.manual_seed(seed)
        eos_ids = list(self.eos_ids) if stop_at_eos and self.eos_ids else None
        # Without an end of sequence nothing has to be forbidden, which spares them a pass over the logits.
        self.network.generation_config.eos_token_id = eos_ids
        found_BT = self.network.generate(
            tokens_BT,
            attention_mask=given_BT,
            max_new_tokens=length,
            cache_implementation=cache,
            eos_token_id=eos_ids,
            pad_token_id=0 if eos_ids is None else eos_ids[0],
            **(how if temperature > 0 else {"do_sample": False}),
        )
        rows = found_BT[:, width:].tolist()
        ends = [next((n for n, token in enumerate(row, 1) if token in (eos_ids or ())), len(row)) for row in rows]
        return [row[:end] for row, end in zip(rows, ends, strict=True)]
