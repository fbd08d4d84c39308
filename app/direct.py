"""A route that FastAPI describes and does not call: gathering arguments takes it longer than the answer does."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.dependencies import Door


def name_of(route: APIRoute) -> str:
    """What generated clients name the function of a route after."""
    return route.name


class DirectRoute(APIRoute):
    """Calls an endpoint that takes the parts of its path, as text, the `request`, and a `caller` by a `Door`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        endpoint, door = self.endpoint, self._door()

        async def handle(request: Request) -> Response:
            caller = await door(request)
            answer: Response = await endpoint(request=request, caller=caller, **request.path_params)
            return answer

        return handle

    def _door(self) -> Door:
        """The only dependency there may be. What else FastAPI would have to gather is a mistake, found at start."""
        takes = self.dependant
        (dependency,) = takes.dependencies
        assert isinstance(dependency.call, Door)
        assert (takes.request_param_name, dependency.name) == ("request", "caller")
        assert all(part.field_info.annotation is str for part in takes.path_params)
        gathered = [*takes.query_params, *takes.header_params, *takes.cookie_params, *takes.body_params]
        assert not gathered, "FastAPI has to gather these"
        return dependency.call
