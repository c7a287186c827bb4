"""A version's hooks as its callers meet them: what they change, what they refuse, and what happens when they misbehave."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import hostile
from harness.api import Api, events, output_of, problem
from harness.projects import PREBUILT_HOOKS, with_hook
from harness.server import Server

BuiltHook = Callable[[str], bytes]
Publish = Callable[..., str]
FILTERED = ["stream", "after"]


@pytest.fixture(scope="module")
def built() -> BuiltHook:
    """The hooks that `tests/run` has built from source; the committed ones when pytest runs by itself."""
    folder = Path(os.environ.get("FEIRA_TEST_GUESTS", PREBUILT_HOOKS))
    return lambda name: (folder / f"{name}.wasm").read_bytes()


@pytest.fixture
def publish(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Publish:
    """Publishes a project with one hook, under the name of the test."""

    def with_component(project: str, component: bytes, stages: list[str], **more: str) -> str:
        model = "feira/" + request.node.name.split("[")[0].replace("_", "-")[:60].strip("-")
        return f"{model}:{server.push(with_hook(project, tmp_path, component, stages, **more), model)['id']}"

    return with_component


def test_a_prompt_too_long_is_refused_before_the_model(server: Server, api: Api, built: BuiltHook, tmp_path: Path, publish: Publish):
    talks = publish("talks", built("prompt-template"), ["before"], config="{ prompt_chars_max = 20 }")
    before = api.balance()
    told = problem(api.post("/v1/predictions", json={"version": talks, "input": {"prompt": "long " * 10}}), 422)
    assert told["title"] == "Input validation failed"
    assert told["invalid_fields"] == [
        {"type": "too_long", "field": "input.prompt", "description": "the prompt has 50 characters, at most 20 are taken"}
    ]
    assert api.balance() == before


def test_a_prompt_reaches_the_model_within_its_template(api: Api, built: BuiltHook, publish: Publish):
    template = '{ template = "[{system}] {prompt}!", system_prompt = "Be brief." }'
    prediction = api.run(publish("talks", built("prompt-template"), ["before"], config=template), {"prompt": "Why"})
    assert prediction["output"] == "[Be brief.] Why!"
    assert prediction["input"]["prompt"] == "Why"
    (ran,) = prediction["hooks"]
    assert (ran["name"], ran["stage"], ran["outcome"]) == ("tested", "before", "replace")
    assert ran["metrics"]["prompt_tokens_estimate"] > 0 and ran["duration_us"] > 0
    assert prediction["metrics"]["prompt_tokens_estimate"] == ran["metrics"]["prompt_tokens_estimate"]


@pytest.mark.parametrize("chunks", [["write to ada@exam", "ple.org now"], ["ada", "@", "example", ".", "org"], list("mail ada@example.org!")])
def test_an_address_split_over_tokens_never_leaves(api: Api, built: BuiltHook, publish: Publish, chunks: list[str]):
    created = api.create(publish("chunks", built("redact"), FILTERED), {"chunks": "|".join(chunks)})
    stream = [event for event in events(created["urls"]["stream"]) if event.name != ":"]
    ended = api.ended(created["id"])
    assert ended["status"] == "succeeded", ended
    streamed, got = output_of(stream), "".join(ended["output"])
    assert streamed == got and "ada" not in got and "example" not in got and "@" not in got
    assert all(other in got for other in ("write to", "now") if other in "".join(chunks))
    late = output_of(list(events(created["urls"]["stream"])))
    assert late == got


def test_a_card_number_split_over_tokens_never_leaves_and_other_numbers_do(api: Api, built: BuiltHook, publish: Publish):
    ended = api.run(publish("chunks", built("redact"), FILTERED), {"chunks": "card 4111 11|11 1111| 1111, order 4111 1111 1111 1112"})
    got = "".join(ended["output"])
    assert "4111 1111 1111 1111" not in got and "4111 1111 1111 1112" in got
    assert sum(ran["metrics"].get("redacted_cards", 0) for ran in ended["hooks"]) >= 1


def test_text_without_anything_to_hide_is_left_as_it_is(api: Api, built: BuiltHook, publish: Publish):
    ended = api.run(publish("chunks", built("redact"), FILTERED), {"chunks": "a @ sign,| and 1|2|3 🙂| and more"})
    assert "".join(ended["output"]) == "a @ sign, and 123 🙂 and more"


@pytest.mark.parametrize(("malice", "words"), [(hostile.looping, "time"), (hostile.trapping, "trap")])
def test_a_hook_that_loops_or_traps_fails_its_call_and_costs_nothing(api: Api, built: BuiltHook, publish: Publish, malice, words: str):
    talks = publish("talks", malice(built("prompt-template")), ["before"])
    before = api.balance()
    answer = api.post("/v1/predictions", json={"version": talks, "input": {"prompt": "x"}})
    told = problem(answer, 502)
    assert "`tested`" in told["detail"] and "Nothing was charged" in told["detail"], told
    assert api.balance() == before
    assert api.get("/v1/account").status_code == 200


def test_a_hook_that_may_be_passed_over_lets_the_call_go_on_when_it_fails(api: Api, built: BuiltHook, publish: Publish):
    talks = publish("talks", hostile.trapping(built("prompt-template")), ["before"], on_error="pass")
    prediction = api.run(talks, {"prompt": "go on"})
    assert prediction["output"] == "go on" and prediction["hooks"][0]["outcome"] == "failed"


def test_a_hook_with_a_wrong_configuration_says_so(api: Api, built: BuiltHook, publish: Publish):
    talks = publish("talks", built("prompt-template"), ["before"], config="{ templat = 1 }")
    told = problem(api.post("/v1/predictions", json={"version": talks, "input": {"prompt": "x"}}), 502)
    assert "templat" in told["detail"]


@pytest.mark.parametrize(
    ("component", "stages", "words"),
    [
        (lambda built: b"", ["before"], "empty"),
        (lambda built: b"not wasm at all", ["before"], "component"),
        (lambda built: b"\0asm\1\0\0\0", ["before"], "core WebAssembly module"),
        (lambda built: built("redact")[:-1000], ["stream"], "unexpected end"),
        (lambda built: hostile.importing_what_it_may_not(built("prompt-template")), ["before"], "feira:hook/secret"),
        (lambda built: built("prompt-template"), ["stream"], "stream"),
    ],
    ids=["empty", "text", "core-module", "broken-off", "forbidden-import", "missing-export"],
)
def test_what_is_no_hook_is_refused_when_it_is_pushed(server: Server, tmp_path: Path, built: BuiltHook, component, stages: list[str], words: str):
    project = with_hook("talks", tmp_path, component(built), stages)
    done = server.feira("push", project, "feira/no-hook", check=False)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_component_can_be_checked_before_it_is_pushed(server: Server, built: BuiltHook, tmp_path: Path):
    for name, stages in (("prompt-template", "before"), ("redact", "stream after")):
        component = tmp_path / f"{name}.wasm"
        component.write_bytes(built(name))
        assert stages in server.feira("hook", "check", component).stdout
