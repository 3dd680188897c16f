"""moto's S3 server, one request after the other: it judges a condition and then writes, and S3 does both at once."""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

Application = Callable[[dict[str, Any], Any], Any]


def in_order(make: Callable[..., Application], requests: Counter[str] | None = None) -> Callable[..., Application]:
    """A maker of applications like `make`'s, which count their `requests` by method."""

    def made(*arguments: Any) -> Application:
        application, lock = make(*arguments), Lock()

        def answer(environment: dict[str, Any], respond: Any) -> Any:
            if requests is not None:
                requests[environment["REQUEST_METHOD"]] += 1
            with lock:
                return application(environment, respond)

        return answer

    return made
