"""Many questions, a few at once; a silent endpoint ends it early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from sdvlm.endpoint.client import EndpointClient, EndpointRefusedError, EndpointUnreachableError
from sdvlm.endpoint.config import EndpointConfig

__all__ = ["ask_each"]

J = TypeVar("J")
R = TypeVar("R")


def ask_each(
    jobs: Sequence[J], ask: Callable[[EndpointClient, J], R], config: EndpointConfig
) -> Iterator[tuple[int, R | EndpointRefusedError | EndpointUnreachableError]]:
    """Outcomes as they come in, each with the index of its job, in the thread of the caller.

    An outcome is what ``ask`` returned, or the error that says why this question has no answer.

    Once as many questions in a row as are asked at once (three at least) found the endpoint silent, the others are not
    asked: they come out as unreachable too.

    Args:
        jobs: what to ask about.
        ask: puts one question; called in ``config.workers`` threads.
        config: whom to ask.

    Raises:
        SdvlmError: no question can succeed (key, model, address), or what ``ask`` raised; the others are stopped first.
    """
    stopped = Event()
    client = EndpointClient(config, stopped.wait)
    queue = list(range(len(jobs)))[::-1]
    running: dict[Future[R], int] = {}
    silent = 0
    with ThreadPoolExecutor(config.workers) as pool:
        try:
            while queue or running:
                while queue and len(running) < config.workers:
                    index = queue.pop()
                    running[pool.submit(ask, client, jobs[index])] = index
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index, outcome = running.pop(future), _outcome(future)
                    silent = silent + 1 if isinstance(outcome, EndpointUnreachableError) else 0
                    yield index, outcome
                if silent >= max(3, config.workers):
                    stopped.set()
                    for index in queue[::-1]:
                        yield (
                            index,
                            EndpointUnreachableError(f"not asked, since the {config.role} gave no answers"),
                        )
                    queue.clear()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            client.close()


def _outcome(future: Future[R]) -> R | EndpointRefusedError | EndpointUnreachableError:
    try:
        return future.result()
    except (EndpointRefusedError, EndpointUnreachableError) as error:
        return error
