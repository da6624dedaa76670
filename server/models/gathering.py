"""Questions that are put to the database together: all that were asked while it answered others.

A statement costs a round trip, on SQLite a change of threads, however little it reads. After a
restart everybody comes at once and asks the same of the database about themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from tortoise.connection import get_connection

if TYPE_CHECKING:
    from tortoise.backends.base.client import BaseDBAsyncClient

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")
Read = Callable[[list[QuestionT]], Awaitable[Sequence[AnswerT]]]

_AT_ONCE = 64


class Gathering(Generic[QuestionT, AnswerT]):
    """Asks many questions at once; each is read after it was asked."""

    def __init__(self, read: Read[QuestionT, AnswerT]) -> None:
        """Ask by this function, which returns the answers in the order of the questions."""
        self._read = read
        self._waiting: list[tuple[QuestionT, asyncio.Future[AnswerT]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(
        self, question: QuestionT, meanwhile: Callable[[], None] | None = None
    ) -> AnswerT:
        """Return the answer; whoever asks may give up at any time.

        `meanwhile` is done while the database reads, yet before this process can hear of anything
        that is stored after the answer was read.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[AnswerT] = loop.create_future()
        self._waiting.append((question, answer))
        if self._work is None:
            self._work = loop.create_task(self._answer_all())
            if meanwhile is not None:
                # The loop takes steps in order: this one comes right behind the task's first, which
                # asks, and nothing can be heard between the two.
                loop.call_soon(_do, meanwhile, answer)
        elif meanwhile is not None:
            # Nobody knows which step will ask this, and which come between.
            meanwhile()
        return await answer

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                await self._answer([one for one in asked if not one[1].done()])
        finally:
            self._work = None

    async def _answer(self, asked: list[tuple[QuestionT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._read([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001 (each of those who asked gets it)
            await self._fail(asked, error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _fail(
        self, asked: list[tuple[QuestionT, asyncio.Future[AnswerT]]], error: Exception
    ) -> None:
        """Ask once more, one by one, so that nobody's question fails those of the others."""
        if len(asked) > 1:
            for one in asked:
                if not one[1].done():
                    await self._answer([one])
        elif not asked[0][1].done():
            asked[0][1].set_exception(error)


_TOGETHER: "WeakKeyDictionary[BaseDBAsyncClient, dict[Read[Any, Any], Gathering[Any, Any]]]" = (
    WeakKeyDictionary()
)


def together(read: Read[QuestionT, AnswerT]) -> Gathering[QuestionT, AnswerT]:
    """Return who asks by this function in the database that is connected here."""
    gatherings = _TOGETHER.setdefault(get_connection("default"), {})
    if read not in gatherings:
        gatherings[read] = Gathering(read)
    return gatherings[read]


def _do(work: Callable[[], None], answer: asyncio.Future[Any]) -> None:
    """Do what somebody wants done while they wait, who gets the error if it fails."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 (whoever asked gets it)
        if not answer.done():
            answer.set_exception(error)
