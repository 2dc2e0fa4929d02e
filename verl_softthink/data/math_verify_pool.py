"""math-verify in processes of its own, under one time limit: a process that hangs in sympy is killed, and one that is
gone is replaced. math-verify's own limits need a main thread, which a reward worker does not offer, and are not heeded
by C code."""

import functools
import logging
import multiprocessing
import queue
from multiprocessing.connection import Connection

#: Checks at the same time, per reward worker.
PROCESSES = 2
#: Of the processes, where a machine lists them.
NAME = "math-verify"
#: Seconds for one check; an ordinary one takes milliseconds.
SECONDS_PER_GRADE = 10.0
#: Seconds that a process has to start and to import sympy, on a busy machine.
SECONDS_TO_START = 120.0


class GradingFailure(RuntimeError):
    """math-verify gave no verdict on an answer; the message says why."""


def equal(answer: str, ground_truth: str, *, seconds: float = SECONDS_PER_GRADE) -> bool:
    """Whether two LaTeX expressions are mathematically equal; one that math-verify cannot parse equals nothing.

    Raises:
        GradingFailure: no verdict within ``seconds``, or the process ended.
    """
    slots = _slots()
    process = slots.get()
    try:
        if process is None or not process.is_alive():
            process = _Process()
        return process.ask((answer, ground_truth), seconds)
    finally:
        slots.put(process)


class _Process:
    """One process that checks pairs, in their order; it is killed where it owes an answer."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name=NAME)
        self._process.start()
        theirs.close()
        self._receive(SECONDS_TO_START)

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, pair: tuple[str, str], seconds: float) -> bool:
        try:
            self._connection.send(pair)
        except OSError as error:
            raise GradingFailure("math-verify's process ended before it was asked") from error
        return self._receive(seconds)

    def _receive(self, seconds: float) -> bool:
        received = False
        try:
            if not self._connection.poll(seconds):
                raise GradingFailure(f"math-verify did not answer within {seconds:g} s")
            answer = self._connection.recv()
            received = True
        except (EOFError, OSError) as error:
            self._process.join(seconds)
            raise GradingFailure(f"math-verify's process ended with exit code {self._process.exitcode}") from error
        finally:
            if not received:
                self._process.kill()
                self._process.join()
                self._connection.close()
        return answer


@functools.cache
def _slots() -> "queue.SimpleQueue[_Process | None]":
    slots: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
    for _ in range(PROCESSES):
        slots.put(None)
    return slots


def _serve(connection: Connection) -> None:
    """Answer pairs until the other side is gone; an exception ends this process, and the next check starts another."""
    from math_verify import parse, verify

    # It warns that its limits are off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    connection.send(True)
    while True:
        try:
            pair = connection.recv()
        except EOFError:
            return
        answer, truth = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in pair)
        connection.send(verify(truth, answer, timeout_seconds=None))
