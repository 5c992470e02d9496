"""The contract of `ContextManager`, member by member."""

import inspect
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxwin import (
    Budget,
    BudgetError,
    ContextManager,
    CounterError,
    Message,
    MessageError,
    Plan,
    PruneRequest,
    Unit,
    hookimpl,
)
from ctxwin.counting import CallableCounter, TokenCounter
from ctxwin.manager import Options
from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.testing import OddCounter
from ctxwin.values.plan import Drop
from ctxwin.values.wire import RESULT_ROLES, ROLES, DraftRole, Role
from threads import in_threads

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(budget: int = 100, count: int = 0, **options: Any) -> ContextManager:
    manager = ContextManager(budget, counter=len, **options)
    manager.extend({"role": "user", "content": f"question {number:02}"} for number in range(count))
    return manager


def test_exactly_one_budget() -> None:
    """Neither and both are `TypeError`s; a bad figure is a `ValueError`."""
    assert ContextManager(budget=Budget(100, reserve_output=20)).max_tokens == 80
    for bad in ({}, {"max_tokens": 10, "budget": Budget(10)}):
        with pytest.raises(TypeError, match="exactly one"):
            ContextManager(**bad)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="0"):
        ContextManager(0)


def test_type_checkers_know_every_option_and_role() -> None:
    """What they read of options and roles is what the constructor and `append` take."""
    options = set(inspect.signature(ContextManager).parameters) - {"max_tokens", "budget"}
    assert set(Options.__annotations__) == options
    assert set(get_args(Role)) == ROLES
    assert set(get_args(DraftRole)) == ROLES - RESULT_ROLES


@pytest.mark.parametrize("kept", ["in memory", "in a store"])
def test_unknown_attributes_are_refused(kept: str) -> None:
    """Setting an option later would do nothing; the error says so. `with` does nothing special."""
    opened = Sessions(MemoryStore()).open("a", 100, counter=len)
    with opened if kept == "in a store" else ContextManager(100, counter=len) as ctx:
        for name in ("model", "budget", "max_tokens", "strategies", "systm", "messages"):
            with pytest.raises(AttributeError, match=f"'{name}' of a .* give options when"):
                setattr(ctx, name, "o3")
        ctx.tools = []
        ctx.add_message("user", "hi")
    assert weakref.ref(ctx)() is ctx
    if kept == "in memory":
        ctx.add_message("user", "and still open")
    assert ctx.messages()[0] == {"role": "user", "content": "hi"}


def test_empty_log() -> None:
    """An empty log gives an empty window, whatever the budget."""
    manager = ContextManager(1, counter=len)
    assert manager.messages() == []
    assert (manager.total_tokens, manager.remaining_tokens, len(manager), bool(manager)) == (
        3,
        -2,
        0,
        True,
    )
    assert manager.prune_history().actions == ()
    assert (manager.last_receipt is None) or manager.last_receipt.actions == ()
    manager.append({"role": "tool", "tool_call_id": "x", "content": "lost"})
    assert manager.messages() == []
    assert [message.content for message in manager.left_out] == ["lost"]


def test_add_message_gives_the_message() -> None:
    """With all its fields, and extra ones."""
    manager = chat()
    message = manager.add_message("assistant", None, name="ada", tool_calls=[CALL], mood="fine")
    assert message.to_dict() == {
        "role": "assistant",
        "content": None,
        "name": "ada",
        "tool_calls": [CALL],
        "mood": "fine",
    }
    result = manager.add_message("tool", "r", tool_call_id="a", pinned=True)
    assert (result.id, result.pinned, message.pinned) == (2, True, False)
    assert manager.add_message("system", "s").pinned


def test_meters() -> None:
    """Total, remaining, repr; the window is counted, not the log."""
    manager = chat(100, 5)
    assert manager.total_tokens == 3 + 5 * 15
    assert manager.remaining_tokens == 22
    assert repr(manager) == "<ContextManager 78/100 tokens, 5 messages, drop-oldest>"
    manager.add_message("user", "one more that is too much")
    assert manager.remaining_tokens < 0
    manager.messages()
    assert manager.total_tokens < 78
    assert len(manager.conversation_history) == 6


def test_cut_goes_down_to_the_low_mark() -> None:
    """Floor plus `low` times what is free above it."""
    manager = ContextManager(budget=Budget(100, low=0.5), counter=len)
    manager.add_message("system", "be kind")
    manager.extend({"role": "user", "content": "question"} for _ in range(9))
    assert manager.messages()
    receipt = manager.last_receipt
    assert receipt is not None
    floor = 3 + 11 + 12
    assert receipt.target_tokens == floor + (100 - floor) // 2
    assert receipt.target_tokens - 12 < receipt.after_tokens <= receipt.target_tokens


def test_budget_error_names_the_culprits() -> None:
    """What must be kept, most expensive first; nothing has changed; a larger budget suffices."""
    manager = ContextManager(60, counter=len, tools=[{"name": "f"}])
    manager.add_message("system", "be kind")
    manager.add_message("user", "an older question")
    manager.add_message("user", "x" * 70)
    before = manager.to_dict()
    for _ in range(2):
        with pytest.raises(BudgetError) as caught:
            manager.messages()
        error = caught.value
        assert error.required_tokens == 3 + 12 + 11 + 74
        assert error.budget_tokens == 60
        assert isinstance(error.culprits[0], Message)
        assert error.culprits[0].content == "x" * 70
        assert "tools" in error.culprits
        assert "raise the budget to 100 tokens" in str(error)
        assert manager.to_dict() == before
    with pytest.raises(BudgetError):
        manager.plan()
    restored = ContextManager.from_dict(
        before, error.required_tokens, counter=len, tools=[{"name": "f"}]
    )
    assert len(restored.messages()) == 2
    import pickle

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.required_tokens, again.culprits) == (error.required_tokens, error.culprits)


def test_question_may_be_edited_where_that_is_allowed() -> None:
    """Only with `allow_question_edit`, only by a declared edit, and a pin beats it."""

    class Shorten:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan | None:
            return Plan.edit(request.editable[-1], "short") if request.editable else None

    for allowed in (False, True):
        manager = ContextManager(
            60, counter=len, strategies=[Shorten()], allow_question_edit=allowed
        )
        question = manager.add_message("user", "x" * 70)
        assert manager.preview("y" * 70).fits is allowed
        if not allowed:
            with pytest.raises(BudgetError):
                manager.messages()
            continue
        assert manager.messages() == [{"role": "user", "content": "short"}]
        assert manager.conversation_history[0].content == "x" * 70
        manager.pin(question)
        with pytest.raises(BudgetError):
            manager.messages()


def test_pins() -> None:
    """A pinned message stays or comes back; a pin on a result keeps the exchange."""
    manager = chat(100, 12)
    first = manager.conversation_history[0]
    assert first.to_dict() not in manager.messages()
    manager.pin(first)
    assert manager.messages()[0] == first.to_dict()
    manager.pin(first.id)
    manager.unpin(first)
    manager.extend({"role": "user", "content": f"more {number:02}"} for number in range(10))
    assert first.to_dict() not in manager.messages()
    for bad in (999, Message(999, {"role": "user", "content": "x"})):
        with pytest.raises(MessageError, match="999"):
            manager.pin(bad)


def test_unpinned_system_message_is_ordinary() -> None:
    """It may be dropped like any other."""
    manager = ContextManager(60, counter=len)
    system = manager.add_message("system", "be kind")
    manager.unpin(system)
    manager.extend({"role": "user", "content": "question"} for _ in range(6))
    assert manager.messages()[0]["role"] == "user"


def test_pin_on_an_exchange_keeps_it_whole() -> None:
    """And neither of its messages is edited."""
    manager = ContextManager(60, counter=len, strategies=["clear-tool-results"])
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    manager.append({"role": "tool", "tool_call_id": "a", "content": "r" * 10}, pinned=True)
    manager.extend({"role": "user", "content": "question"} for _ in range(6))
    assert [wire["role"] for wire in manager.messages()][:2] == ["assistant", "tool"]


def test_rewind_returns_the_tail() -> None:
    """And what had been dropped but is now the question is there again; ids are not reused."""
    manager = chat(100, 12)
    manager.messages()
    history = manager.conversation_history
    cut = manager.rewind(history[4])
    assert cut == history[4:]
    assert manager.messages()[-1] == history[3].to_dict()
    assert manager.add_message("user", "again").id == 13
    with pytest.raises(MessageError, match="12"):
        manager.rewind(12)


def test_rewind_brings_back_the_newest_unit() -> None:
    """The tool exchange after the question, dropped while the turn went on, is the newest again."""
    manager = ContextManager(60, counter=len)
    manager.add_message("user", "q")
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    manager.append({"role": "tool", "tool_call_id": "a", "content": "r" * 10})
    late = manager.add_message("assistant", "x" * 30)
    assert len(manager.messages()) == 2
    manager.rewind(late)
    assert [wire["role"] for wire in manager.messages()] == ["user", "assistant", "tool"]


def test_rewind_takes_back_a_summary_of_what_is_cut() -> None:
    """A summary that tells of the cut messages goes with them; its other sources come back."""

    class Fold:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan:
            return Plan.replace(request.droppable, "so far", reason="folded")

    manager = chat(100, 12, strategies=[Fold()])
    history = manager.conversation_history
    assert [wire["content"] for wire in manager.messages()] == ["so far", "question 11"]
    manager.rewind(history[5])
    assert [wire["content"] for wire in manager.messages()] == [
        f"question {number:02}" for number in range(5)
    ]
    manager.extend({"role": "user", "content": f"more {number:02}"} for number in range(8))
    manager.messages()
    manager.forget()
    manager.rewind(manager.conversation_history[-1])
    assert [wire["content"] for wire in manager.messages()] == ["so far"]


def test_forget_releases_what_has_left() -> None:
    """The window does not change; forgotten messages leave the log in memory and the receipt."""
    manager = chat(100, 12)
    window = manager.messages()
    released = manager.forget()
    assert len(released) + len(window) == 12
    assert (
        [message.to_dict() for message in manager.conversation_history]
        == window
        == manager.messages()
    )
    assert manager.last_receipt is not None
    assert manager.last_receipt.evicted == ()
    assert manager.forget() == ()
    assert chat(100, 2).forget() == ()
    with pytest.raises(MessageError, match="held in memory"):
        manager.pin(released[0])
    manager.add_message("user", "go on")
    assert manager.messages()[-1]["content"] == "go on"


def test_tools_count_and_may_be_set() -> None:
    """Schemas are copied, count, and may be changed later."""
    tool = {"name": "f"}
    manager = ContextManager(100, counter=len, tools=[tool])
    assert manager.total_tokens == 3 + 12
    tool["name"] = "changed"
    assert manager.tools == [{"name": "f"}]
    manager.tools = []
    assert (manager.tools, manager.total_tokens) == ([], 3)
    with pytest.raises(TypeError):
        manager.tools = ["f"]  # type: ignore[list-item]
    assert manager.tools == []


def test_tools_alone_may_be_too_much() -> None:
    """The culprit is then `"tools"`; without a message there is no request and no error."""
    manager = ContextManager(10, counter=len, tools=[{"name": "f" * 50}])
    assert manager.messages() == []
    manager.add_message("user", "x")
    with pytest.raises(BudgetError) as caught:
        manager.messages()
    assert caught.value.culprits[0] == "tools"


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_preview_with_a_pending_call(role: DraftRole) -> None:
    """A draft behind a pending call leaves that out; the preview says what will be."""
    manager = ContextManager(100, counter=len)
    manager.add_message("user", "q")
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    before = manager.to_dict()
    preview = manager.preview("draft", role)
    assert manager.to_dict() == before
    manager.add_message(role, "draft")
    assert preview.total_tokens == manager.total_tokens == 3 + 5 + 9
    assert (preview.tokens, preview.prunes, preview.fits) == (9, False, True)


def test_preview_brings_nothing_back() -> None:
    """A system draft behind a pending call interrupts it; what a cut dropped stays away."""
    manager = ContextManager(60, counter=len)
    manager.add_message("user", "q")
    manager.add_message("assistant", "x" * 30)
    manager.append({"role": "assistant", "content": "y" * 20, "tool_calls": [CALL]})
    manager.messages()
    assert len(manager) == 2
    before = manager.to_dict()
    preview = manager.preview("s", "system")
    assert manager.to_dict() == before
    manager.add_message("system", "s")
    assert [message.role for message in manager] == ["user", "system"]
    assert preview.total_tokens == manager.total_tokens


def test_preview_refuses_results_and_junk() -> None:
    """A draft is a message of its own."""
    manager = chat()
    for role in ("tool", "function", "villain"):
        with pytest.raises(MessageError, match="role"):
            manager.preview("x", role)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [[], ["user"], ["system"], ["system", "user", "assistant"]])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("content", ["", "draft", "d" * 200])
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_quick_preview_says_the_same(
    said: list[Any], opened: bool, content: str, role: DraftRole
) -> None:
    """But not whether it fits, for which the chain would be asked."""
    asked = []

    class Asked:
        name = "asked"

        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> None:
            asked.append(request)

    tools = [{"type": "function", "function": {"name": "f"}}]
    manager = ContextManager(100, counter=len, tools=tools, strategies=[Asked()])
    for one in said:
        manager.add_message(one, "said")
    if opened:
        manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    quick = manager.preview(content, role, check=False)
    assert not asked
    assert quick == replace(manager.preview(content, role), fits=None)
    manager.add_message(role, content)
    assert quick.total_tokens == manager.total_tokens
    assert quick.prunes == (manager.total_tokens > 100)


def test_preview_asks_no_model() -> None:
    """Not even where only a summary stands between the draft and a `BudgetError`."""
    from pruning.test_prune import Fold

    calls = []

    def summarizer(*args: object) -> str:
        calls.append(args)
        return "s"

    manager = chat(100, 5, strategies=[Fold(summarizer)])
    assert not manager.preview("x" * 200).fits
    assert manager.preview("x" * 40).fits
    assert calls == []


def test_observed_cost_reaches_written_messages() -> None:
    """A summary is priced anew like everything else."""

    class Fold:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan:
            return Plan.replace(request.droppable, "so far", reason="folded")

    manager = chat(100, 12, strategies=[Fold()])
    manager.messages()
    total = manager.total_tokens
    manager.messages()
    manager.observe({"prompt_tokens": total * 2})
    assert manager.total_tokens == total * 2


def test_estimate_of_nothing_is_not_corrected() -> None:
    """A predicted cost of zero teaches nothing."""
    manager = ContextManager(10, counter=Free())
    manager.add_message("user", "x")
    manager.messages()
    manager.observe({"prompt_tokens": 5})
    assert manager.total_tokens == 0


class Free:
    """Everything costs nothing."""

    name = "free"
    exact = False
    additive = True

    def count_text(self, text: str) -> int:
        return 0

    def count_message(self, message: Any) -> int:
        return 0

    def count_request(self, messages: Sequence[Any], tools: Sequence[Any] = ()) -> int:
        return 0


class UpperBound(CallableCounter):
    """Its messages cost more one by one than together."""

    def __init__(self, saving: int, *, additive: bool = True) -> None:
        super().__init__(len)
        self.saving = saving
        self.additive = additive
        self.requests = 0

    def count_request(self, messages: Sequence[Any], tools: Sequence[Any] = ()) -> int:
        self.requests += bool(messages)
        return super().count_request(messages, tools) - self.saving * len(messages)


def test_budget_error_is_honest_with_an_upper_bound() -> None:
    """Before a `BudgetError` the true cost is asked for; the window that fits by it is returned."""
    counter = UpperBound(saving=4)
    manager = ContextManager(60, counter=counter)
    manager.add_message("user", "x" * 55)
    assert len(manager.messages()) == 1
    assert counter.requests == 1
    assert manager.total_tokens == 58
    manager.messages()
    assert counter.requests == 1
    manager.add_message("assistant", "y")
    assert manager.total_tokens == 63
    with pytest.raises(BudgetError) as caught:
        ContextManager.from_dict(manager.to_dict(), 54, counter=UpperBound(saving=4)).messages()
    assert caught.value.required_tokens == 3 + 55 + 1
    manager.pin(1)
    assert manager.total_tokens == 67


def test_counter_that_is_not_additive_is_asked_after_a_cut() -> None:
    """What it says of the whole request decides; more is dropped until that fits."""
    counter = UpperBound(saving=-10, additive=False)
    manager = ContextManager(100, counter=counter)
    manager.extend({"role": "user", "content": "question"} for _ in range(9))
    window = manager.messages()
    assert counter.count_request(window) == manager.total_tokens <= 100
    tight = ContextManager(20, counter=UpperBound(saving=-10, additive=False))
    tight.add_message("user", "12345678")
    assert len(tight.messages()) == 1
    tight.add_message("user", "12345678")
    with pytest.raises(BudgetError):
        tight.messages()


@given(st.integers(45, 60), st.integers(0, 2))
def test_what_was_saved_on_a_message_leaves_with_it(words: int, results: int) -> None:
    """A pending exchange that opens keeps what the last cut's true cost was lower by."""
    counter = OddCounter("merging")
    calls = [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": ""}}
        for name in "abc"
    ]
    manager = ContextManager(budget=Budget(60, low=1.0), counter=counter)
    manager.extend({"role": "user", "content": "one"} for _ in range(12))
    manager.add_message("assistant", None, tool_calls=calls)
    manager.extend(
        {"role": "tool", "tool_call_id": name, "content": ""} for name in "abc"[:results]
    )
    manager.messages()
    preview = manager.preview("x " * words)
    manager.add_message("user", "x " * words)
    assert preview.total_tokens == manager.total_tokens
    try:
        window = manager.messages()
    except BudgetError as error:
        assert not preview.fits
        assert error.required_tokens == counter.count_request(
            [{"role": "user", "content": "x " * words}]
        )
        return
    assert counter.count_request(window) <= 60


def test_counter_that_raises_changes_nothing() -> None:
    """The message stays in the log, and can be taken back without being counted."""

    def count(text: str) -> int:
        if text == "poison":
            raise ValueError("cannot count that")
        return len(text)

    manager = ContextManager(100, counter=count)
    manager.add_message("user", "fine")
    manager.messages()
    poison = manager.add_message("user", "poison")
    manager.add_message("user", "after")
    for call in (
        manager.messages,
        manager.plan,
        lambda: len(manager),
        lambda: manager.total_tokens,
    ):
        with pytest.raises(CounterError, match="cannot count that"):
            call()
    assert repr(manager) == "<ContextManager ?/100 tokens, drop-oldest>"
    assert len(manager.conversation_history) == 3
    with pytest.raises(CounterError):
        manager.preview("x")
    manager.rewind(poison)
    with pytest.raises(CounterError):
        manager.preview("poison")
    assert manager.messages() == [{"role": "user", "content": "fine"}]


def test_protected_units_are_released_before_a_budget_error() -> None:
    """Oldest first, named in the receipt, and no more than needed."""

    class Everything:
        @hookimpl
        def ctxwin_protect(self, request: PruneRequest) -> Sequence[Unit]:
            return request.units

    manager = chat(100, 9, strategies=[Everything()])
    assert len(manager.messages()) == 6
    assert manager.last_receipt is not None
    assert [action.kind for action in manager.last_receipt.actions] == ["release"] * 3
    assert [action.message_ids for action in manager.last_receipt.actions] == [(1,), (2,), (3,)]
    assert manager.last_receipt.after_tokens == 93


def test_hostile_protectors_are_refused() -> None:
    """Foreign units and junk are recorded, and the cut goes on."""

    class Foreign:
        @hookimpl
        def ctxwin_protect(self, request: PruneRequest) -> Sequence[Any]:
            message = Message(999, {"role": "user", "content": "x"})
            return [Unit((message,), 1, (1,), "user")]

    class Junk:
        @hookimpl
        def ctxwin_protect(self, request: PruneRequest) -> Sequence[Any]:
            return ["junk"]

    manager = chat(100, 9, strategies=[Foreign(), Junk()])
    manager.messages()
    assert manager.last_receipt is not None
    assert [(rejected.strategy, rejected.law) for rejected in manager.last_receipt.rejected] == [
        ("foreign", "L5"),
        ("junk", "L8"),
    ]


def test_last_resort_when_the_chain_lets_down() -> None:
    """With a `drop-oldest` that does nothing the manager drops the oldest, down to the target."""

    class Idle:
        name = "drop-oldest"

        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> None:
            return None

    idle, honest = chat(100, 9, strategies=[Idle()]), chat(100, 9)
    assert idle.messages() == honest.messages()
    assert idle.last_receipt is not None
    assert {action.strategy for action in idle.last_receipt.actions} == {"ctxwin"}


def test_threads_lose_nothing() -> None:
    """Appends and windows in several threads: each message is there once, in its thread's order."""
    manager = chat(200)

    def work(name: str) -> None:
        for number in range(100):
            manager.add_message("user", f"{name} {number}")
            manager.messages()

    in_threads(work, "abcd")
    contents = [str(message.content) for message in manager.conversation_history]
    assert len(contents) == 400
    for name in "abcd":
        assert [text for text in contents if text.startswith(name)] == [
            f"{name} {number}" for number in range(100)
        ]
    assert manager.total_tokens <= 200


def test_a_counter_that_fails_once_while_observing() -> None:
    """Nothing has changed, and everything works again when the counter does."""
    fail = [True]

    def count(text: str) -> int:
        if text == "r" and fail[0]:
            raise OSError("away")
        return len(text)

    manager = ContextManager(1000, counter=count)
    manager.add_message("user", "hello")
    manager.messages()
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert len(manager) == 2
    manager.add_message("tool", "r", tool_call_id="a")
    manager.observe({"prompt_tokens": 50})  # needs no count
    with pytest.raises(CounterError):
        manager.messages()
    fail[0] = False
    assert len(manager.messages()) == 3


def test_no_plan_makes_a_message_cost_more() -> None:
    """Freeing much elsewhere is no licence to grow what must be kept."""

    class Grow:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan:
            result = next(message for message in request.editable if message.role == "tool")
            return Plan.drop(request.droppable, "d") + Plan.edit(result, "w" * 110, "grow")

    manager = ContextManager(130, counter=len, strategies=[Grow()])
    manager.extend({"role": "assistant", "content": "x" * 40} for _ in range(3))
    manager.add_message("user", "q")
    manager.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
    manager.add_message("tool", "r", tool_call_id="a")
    assert manager.messages()
    assert manager.last_receipt is not None
    assert manager.last_receipt.rejected[0].law == "L7"


def test_one_bill_a_request() -> None:
    """A second usage for the same request is ignored, whatever the first one said."""

    class Exact(CallableCounter):
        exact = True

    manager = ContextManager(100, counter=Exact(len))
    manager.add_message("user", "hello")
    manager.messages()
    manager.observe({"prompt_tokens": manager.total_tokens})
    manager.observe({"prompt_tokens": 50})
    assert manager.total_tokens == 12


def test_a_counter_without_the_optional_attributes() -> None:
    """The three methods are enough: an estimate, additive, its counts not stored."""

    class Bare:
        def count_text(self, text: str) -> int:
            return len(text)

        def count_message(self, message: Any) -> int:
            return 5

        def count_request(self, messages: Sequence[Any], tools: Sequence[Any] = ()) -> int:
            assert not messages, "additive is the default"
            return 1

    class Declared(Bare, TokenCounter):
        name = "declared"
        exact = False

    assert Declared().additive
    manager = ContextManager(20, counter=Bare())  # type: ignore[call-overload]
    manager.extend({"role": "user", "content": "x"} for _ in range(5))
    assert len(manager.messages()) == 2
    manager.observe({"prompt_tokens": 8})
    assert manager.to_dict()["counter"] == ""


def test_junk_tools_and_ids() -> None:
    """A generator of schemas is read once; what is no schema, and what is no id, is refused."""
    manager = ContextManager(100, counter=len, tools=({"name": name} for name in "ab"))  # type: ignore[call-overload]
    assert manager.tools == [{"name": "a"}, {"name": "b"}]
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(MessageError, match=r"tools\[0\]"):
        manager.tools = [loop]
    manager.add_message("user", "x")
    junk: Any
    for junk in (True, 1.0, [], "1"):
        with pytest.raises(MessageError, match="name a message"):
            manager.pin(junk)


def test_messages_may_be_appended_again() -> None:
    """What a rewind returned can be appended as it is."""
    manager = chat(100, 3)
    cut = manager.rewind(2)
    again = manager.extend(cut)
    assert [message.to_dict() for message in again] == [message.to_dict() for message in cut]
    assert [message.id for message in again] == [4, 5]


def test_forged_plans_are_rejected() -> None:
    """A message that is not in the window, and a reason that is none."""
    for plan, law in (
        (Plan.edit(Message(999, {"role": "user", "content": "x"}), ""), "L5"),
        (Plan((Drop((), 7),)), "L14"),  # type: ignore[arg-type]
    ):

        class Forger:
            forged = plan

            @hookimpl
            def ctxwin_prune(self, request: PruneRequest) -> Plan:
                return self.forged

        manager = chat(100, 9, strategies=[Forger()])
        manager.messages()
        assert manager.last_receipt is not None
        assert [rejected.law for rejected in manager.last_receipt.rejected] == [law]


def test_unpinning_leaves_an_edit_alone() -> None:
    """Only a pin brings the text back."""
    manager = ContextManager(300, counter=len, strategies=["clamp-oversized"])
    long = manager.add_message("assistant", "x" * 400)
    manager.add_message("user", "and?")
    window = manager.messages()
    manager.unpin(long)
    assert manager.messages() == window
    assert not next(iter(manager)).pinned


def test_a_rewind_leaves_a_declared_edit_of_the_question() -> None:
    """Where the question may be edited, regenerating an answer does not undo the edit."""

    class Clamp:
        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan:
            longest = max(request.editable, key=lambda message: len(str(message.content)))
            return Plan.edit(longest, str(longest.content)[:50], "clamp")

    manager = ContextManager(100, counter=len, strategies=[Clamp()], allow_question_edit=True)
    manager.add_message("user", "x" * 300)
    window = manager.messages()
    manager.rewind(manager.add_message("assistant", "a bad answer"))
    assert [message.to_dict() for message in manager] == window


def test_a_preview_knows_that_a_rest_ends_with_the_draft() -> None:
    """A strategy that rests until the log is longer by one is asked once the draft is sent."""

    class Shortens:
        name = "shortens"

        @hookimpl
        def ctxwin_prune(self, request: PruneRequest) -> Plan:
            longest = max(request.editable, key=lambda message: len(str(message.content)))
            return Plan.edit(longest, "short", "clamp")

    manager = ContextManager(100, counter=len, strategies=[Shortens()], allow_question_edit=True)
    manager.add_message("user", "q")
    state = manager.to_dict() | {"failures": {"shortens": [3, 2]}}
    options: dict[str, Any] = {"counter": len, "allow_question_edit": True}
    restored = ContextManager.from_dict(state, 100, strategies=[Shortens()], **options)
    assert restored.preview("x" * 300).fits
    restored.add_message("user", "x" * 300)
    assert restored.messages()[-1]["content"] == "short"
