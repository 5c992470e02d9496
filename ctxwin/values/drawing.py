"""
The entry point that Hypothesis calls when it is imported: `st.from_type(Message)` just works.

It loads only messages and budgets of ctxwin. The kit is loaded when Hypothesis draws the first one.
"""


def register() -> None:
    """Tell Hypothesis how to make a `Message` and a `Budget`."""
    from hypothesis import strategies as st

    from ctxwin.values.budget import Budget
    from ctxwin.values.message import Message

    def messages(_: object) -> st.SearchStrategy[Message]:
        # Hypothesis may be installed for something else: the kit is loaded only when it is used.
        from ctxwin.testing.strategies import library_messages

        return library_messages()

    def budgets(_: object) -> st.SearchStrategy[Budget]:
        from ctxwin.testing.strategies import budgets

        return budgets()

    st.register_type_strategy(Message, messages)
    st.register_type_strategy(Budget, budgets)
