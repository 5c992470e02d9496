"""
What Hypothesis calls when it is imported, so that `st.from_type(Message)` works with nothing
imported.

Of ctxwin it loads messages and budgets only; the kit is loaded when the first of them is to be
made.
"""


def register() -> None:
    """Tell Hypothesis how to make a `Message` and a `Budget`."""
    from hypothesis import strategies as st

    from ctxwin.values.budget import Budget
    from ctxwin.values.message import Message

    def messages(_: object) -> st.SearchStrategy[Message]:
        from ctxwin.testing.strategies import library_messages

        return library_messages()

    def budgets(_: object) -> st.SearchStrategy[Budget]:
        from ctxwin.testing.strategies import budgets

        return budgets()

    st.register_type_strategy(Message, messages)
    st.register_type_strategy(Budget, budgets)
