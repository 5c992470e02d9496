"""Plugins that a plugin under test stands beside: two that misbehave, and two that behave."""

from typing import Any

from ctxwin import Call, Request, Route, RouteRequest, hookimpl


class Raises:
    """Every hook but `admit` raises."""

    name = "raises"

    @hookimpl
    def ctxwin_route(self) -> None:
        """Raise."""
        raise ZeroDivisionError

    @hookimpl
    def ctxwin_answer(self) -> None:
        """Raise."""
        raise ZeroDivisionError

    @hookimpl
    def ctxwin_shape(self) -> None:
        """Raise."""
        raise ZeroDivisionError

    @hookimpl
    def ctxwin_observed(self) -> None:
        """Raise."""
        raise ZeroDivisionError


class Junk:
    """Returns junk, changes what it is given, and never ends."""

    name = "junk"

    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Any:
        """Change the request, and return what is no route."""
        request.tags.clear()  # type: ignore[attr-defined]
        return "junk"

    @hookimpl
    def ctxwin_answer(self, request: Request) -> Any:
        """Change the request, and ask for calls for ever."""
        request.messages[0]["content"] = "junk"
        while True:
            yield Call(int)

    @hookimpl
    def ctxwin_shape(self) -> Any:
        """Yield what is no call."""
        yield "junk"

    @hookimpl
    def ctxwin_observed(self) -> Any:
        """Return something, where nothing is to be said."""
        return "junk"


class Routes:
    """Caps the reply, and tags the request."""

    name = "other-routes"

    @hookimpl
    def ctxwin_route(self) -> Route:
        """Return a route."""
        return Route(max_output_tokens=30, tags={"arm": "a"})


class Observes:
    """Observes, and says nothing."""

    name = "other-observes"

    @hookimpl
    def ctxwin_observed(self) -> None:
        """Say nothing."""
