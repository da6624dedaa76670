"""What leaves together and who gets it, whatever happens in between: a model of many small days.

The listeners here are the edge to the transport, and the loop is turned by hand: between any two
slices of a batch anybody may come, go, turn slow or be told something else.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest

from server.realtime import flight, frames, hub
from server.realtime.flight import Outlet
from server.realtime.frames import Door, Frame
from server.realtime.hub import Hub
from server.realtime.websocket import Turn

pytestmark = pytest.mark.one_database

ROOMS = ("kitchen", "garden")
Heard = tuple[str, int]


class Alarm:
    """A timer of the loop."""

    def __init__(self) -> None:
        self.is_off = False

    def cancel(self) -> None:
        self.is_off = True


class Loop:
    """A loop that is turned by hand; a look at its clock takes a tenth of a millisecond."""

    def __init__(self) -> None:
        self.now = 0.0
        self._soon: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._later: list[tuple[float, int, Alarm, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        self.now += 0.0001
        return self.now

    def call_soon(self, call: Callable[..., None], *args: Any) -> None:
        self._soon.append((call, args))

    def call_at(self, when: float, call: Callable[..., None], *args: Any) -> Alarm:
        alarm = Alarm()
        heapq.heappush(self._later, (when, id(alarm), alarm, call, args))
        return alarm

    def turn(self) -> None:
        """Do what is due, but not what becomes due by that."""
        while self._later and self._later[0][0] <= self.now:
            _, _, alarm, call, args = heapq.heappop(self._later)
            if not alarm.is_off:
                self._soon.append((call, args))
        due, self._soon = self._soon, []
        for call, args in due:
            call(*args)

    def rest(self) -> None:
        """Let ten milliseconds pass, in which a timer may wake somebody."""
        self.now += 0.01
        self.turn()
        self.turn()


class Member:
    """A connection that writes down what reaches it; `careful` says where it must not be direct."""

    may_hear = staticmethod(lambda _: True)
    admitted = dismissed = start_over = staticmethod(lambda _: None)
    send_away = staticmethod(lambda: None)
    is_adrift = False

    def __init__(self, name: str, hub: Hub, door: Door = Door.SOCKETIO) -> None:
        self.id = self.user_id = name
        self.door = door
        self.hub = hub
        self.is_slow = False
        self.slows_after = -1
        self.careful: set[str] = set()
        self.buffers: list[list[tuple[str, str, int]]] = []
        self.heard: list[Heard] = []
        hub.enter(self)

    def direct(self, conversation_id: str) -> Outlet | None:
        return None if self.is_slow or conversation_id in self.careful else self

    def write(self, frames: bytes) -> None:
        """Take bytes, and perhaps find that they were too many."""
        assert not self.is_slow
        self._take(frames)
        self.slows_after -= 1
        if self.slows_after == 0:
            self.slows()

    def send(self, data: bytes) -> int:
        """Take bytes, or perhaps some of them or none."""
        assert not self.is_slow
        self.slows_after -= 1
        if self.slows_after == 0:
            if len(self.buffers) % 2:
                raise BlockingIOError
            return len(data) // 2
        self._take(data)
        return len(data)

    def rest(self, frames: bytes, taken: int) -> None:
        assert taken in {0, len(frames) // 2}
        self._take(frames)
        self.slows()

    def _take(self, data: bytes) -> None:
        self.buffers.append(list(unwired(data)))
        self.heard += [(room, number) for _, room, number in self.buffers[-1]]

    def hear(self, frame: Frame, *, conversation: str, number: int | None) -> None:  # noqa: ARG002
        self.take([frame])

    def take(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.heard += [(room, number) for _, room, number in unwired(frame.wired(self.door))]

    def slows(self) -> None:
        if not self.is_slow:
            self.is_slow = True
            self.hub.slow(self)

    def quickens(self) -> None:
        self.is_slow = False
        self.hub.quicken(self)

    def is_answered(self, number: int) -> None:
        """Be told something of no room, behind all that rooms owe."""
        self.take(self.hub.withdraw(self))
        self.heard.append(("", number))

    def of(self, room: str) -> list[int]:
        return [number for where, number in self.heard if where == room]


def unwired(data: bytes) -> Iterator[tuple[str, str, int]]:
    """Take WebSocket frames apart: the names of their events, their rooms and numbers."""
    at = 0
    while at < len(data):
        assert data[at] == 0x81
        size, at = data[at + 1], at + 2
        for mark, width in ((126, 2), (127, 8)):
            if size == mark:
                size, at = int.from_bytes(data[at : at + width]), at + width
                break
        text, at = data[at : at + size], at + size
        if text[:2] == b"42":
            name, body = orjson.loads(text[2:])
        else:
            name, body = orjson.loads(text).values()
        yield name, body["room"], body["number"]


def said(room: str, number: int, *, padding: int = 0) -> Frame:
    return frames.event("said", {"room": room, "number": number, "padding": "x" * padding})


def hinted(room: str, number: int) -> Frame:
    body = orjson.dumps({"room": room, "number": number})
    return frames.encoded("hinted", body, durable=False)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
async def rooms(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub that rests five milliseconds, with the loop in the hands of the test."""
    made = Hub(Turn(), coalesce_s=0.005)
    monkeypatch.setattr(made, "_loop", loop)
    return made


def tell(rooms: Hub, *told: Frame, room: str = "kitchen") -> None:
    for frame in told:
        rooms.to_conversation(room, frame, 1 if frame.is_durable else None)


async def test_a_quiet_room_hears_at_once_and_a_busy_one_hears_together(
    rooms: Hub, loop: Loop
) -> None:
    ada, bob = Member("ada", rooms), Member("bob", rooms, Door.PLAIN)
    for member in (ada, bob):
        rooms.seat(member, "kitchen")

    tell(rooms, said("kitchen", 1))
    assert ada.of("kitchen") == bob.of("kitchen") == [1]
    tell(rooms, said("kitchen", 2), said("kitchen", 3))
    loop.turn()
    assert ada.of("kitchen") == [1]
    loop.rest()
    tell(rooms, said("kitchen", 4))
    loop.rest()
    loop.rest()
    tell(rooms, said("kitchen", 5))

    assert ada.of("kitchen") == bob.of("kitchen") == [1, 2, 3, 4, 5]
    assert [len(buffer) for buffer in ada.buffers] == [len(buffer) for buffer in bob.buffers]
    assert [len(buffer) for buffer in ada.buffers] == [1, 2, 1, 1]


async def test_what_may_be_left_out_is_never_in_one_buffer_with_what_may_not(
    rooms: Hub, loop: Loop
) -> None:
    ada = Member("ada", rooms)
    rooms.seat(ada, "kitchen")
    tell(rooms, said("kitchen", 0))

    told = [said("kitchen", 1), hinted("kitchen", 2), hinted("kitchen", 3), said("kitchen", 4)]
    tell(rooms, *told)
    loop.rest()

    names = [[name for name, *_ in buffer] for buffer in ada.buffers]
    assert names == [["said"], ["said"], ["hinted", "hinted"], ["said"]]
    assert ada.of("kitchen") == [0, 1, 2, 3, 4]


async def test_a_joined_buffer_is_bounded_and_a_full_one_does_not_wait(
    rooms: Hub, loop: Loop
) -> None:
    ada = Member("ada", rooms)
    rooms.seat(ada, "kitchen")

    tell(rooms, *(said("kitchen", number, padding=50_000) for number in range(8)))
    loop.turn()

    assert ada.of("kitchen") == list(range(8))
    assert [len(buffer) for buffer in ada.buffers] == [1, 2, 2, 2, 1]


async def test_ten_thousand_are_written_to_in_slices_and_others_go_on_in_between(
    rooms: Hub, loop: Loop
) -> None:
    everybody = [Member(str(number), rooms) for number in range(10_000)]
    for member in everybody:
        rooms.seat(member, "kitchen")
    ada, bob = Member("ada", rooms), Member("bob", rooms)
    for member in (ada, bob):
        rooms.seat(member, "garden")

    tell(rooms, said("kitchen", 1))
    slices = list[int]()
    while sum(slices) < len(everybody):
        before = sum(len(member.heard) for member in everybody)
        loop.turn()
        slices.append(sum(len(member.heard) for member in everybody) - before)
        tell(rooms, said("garden", len(slices)), room="garden")

    # The clock is looked at every so many writes, and each look takes a tenth of a millisecond.
    most = flight.WRITES_BETWEEN_LOOKS * hub.SLICE_S / 0.0001
    assert max(slices) <= most
    assert len(slices) >= len(everybody) / most
    loop.rest()
    loop.rest()
    assert ada.of("garden") == bob.of("garden") == list(range(1, len(slices) + 1))


async def test_two_large_rooms_share_a_slice_and_neither_waits_for_the_other(
    rooms: Hub, loop: Loop
) -> None:
    of = {room: [Member(f"{room} {n}", rooms) for n in range(5_000)] for room in ROOMS}
    for room, members in of.items():
        for member in members:
            rooms.seat(member, room)
        tell(rooms, said(room, 1), room=room)

    loop.turn()
    started = loop.now
    loop.turn()
    took = loop.now - started

    assert took <= hub.SLICE_S + 0.0003
    for members in of.values():
        heard = sum(len(member.heard) for member in members)
        assert 0 < heard < len(members)


@pytest.mark.logs_errors
async def test_who_cannot_be_written_to_stops_nobody_else(
    rooms: Hub, loop: Loop, logged: list[dict[str, Any]]
) -> None:
    for room, many in (("kitchen", hub.FEW + 20), ("garden", hub.FEW - 20)):
        members = [Broken("0", rooms), *(Member(str(number), rooms) for number in range(1, many))]
        for member in members:
            rooms.seat(member, room)

        tell(rooms, said(room, 1), room=room)
        loop.turn()

        assert [member.of(room) for member in members] == [[], *[[1]] * (many - 1)]
    assert [line["event"] for line in logged] == ["a connection could not be written to"] * 2


class Broken(Member):
    """A connection whose transport fails in a way that nobody thought of."""

    def write(self, frames: bytes) -> None:
        raise RuntimeError(len(frames))

    def send(self, data: bytes) -> int:
        raise ConnectionResetError(len(data))

    def rest(self, frames: bytes, taken: int) -> None:
        raise RuntimeError(len(frames), taken)


async def test_who_hears_the_last_of_a_room_leaves_nothing_behind(rooms: Hub, loop: Loop) -> None:
    for few in (hub.FEW, 0):
        members = [Member(str(number), rooms) for number in range(few + 200)]
        for member in members:
            rooms.seat(member, "kitchen")
        tell(rooms, *(said("kitchen", number) for number in range(3)))
        loop.turn()
        tell(rooms, said("kitchen", 3))
        for member in members:
            rooms.leave(member)
        for _ in range(9):
            loop.rest()

        assert not rooms._rooms
        assert not rooms._owing
        assert rooms._behind == 0


async def test_requests_wait_while_too_much_is_to_be_written(
    rooms: Hub, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BEHIND_BYTES", 100)
    ada = Member("ada", rooms)
    rooms.seat(ada, "kitchen")
    tell(rooms, *(said("kitchen", number, padding=100) for number in range(3)))
    monkeypatch.setattr(rooms, "_loop", asyncio.get_running_loop())
    waits = asyncio.ensure_future(rooms.room())
    await asyncio.sleep(0)
    monkeypatch.setattr(rooms, "_loop", loop)
    assert rooms.is_behind
    assert not waits.done()

    loop.rest()

    await waits
    assert not rooms.is_behind


class Day:
    """What a few members do at random, and what each of them must have heard of it."""

    def __init__(self, seed: int, rooms: Hub, loop: Loop) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a schedule, not a secret)
        self.hub = rooms
        self.loop = loop
        self.number = 0
        doors = list(Door)
        self.members = [Member(str(n), rooms, doors[n % 5 == 0]) for n in range(12)]
        self.seated: dict[str, set[Member]] = {room: set() for room in ROOMS}
        # What each was told, room by room; and all of it in one order.
        self.told: dict[Member, dict[str, list[int]]] = {
            member: {room: [] for room in ROOMS} for member in self.members
        }
        self.all: dict[Member, list[Heard]] = {member: [] for member in self.members}

    def steps(self, count: int) -> None:
        steps = [self.tells] * 9 + [self.seats] * 2 + [self.unseats, self.slows, self.quickens]
        steps += [self.answers, self.leaves, self.defers] + [self.loop.turn] * 3 + [self.loop.rest]
        for _ in range(count):
            self.random.choice(steps)()

    def somebody(self) -> tuple[Member, str]:
        return self.random.choice(self.members), self.random.choice(ROOMS)

    def tells(self) -> None:
        room = self.random.choice(ROOMS)
        self.number += 1
        for member in self.seated[room]:
            self.told[member][room].append(self.number)
            self.all[member].append((room, self.number))
        frame = hinted(room, self.number)
        if self.random.random() < 0.8:
            frame = said(room, self.number, padding=self.random.randrange(60))
        tell(self.hub, frame, room=room)

    def seats(self) -> None:
        member, room = self.somebody()
        self.hub.seat(member, room)
        self.seated[room].add(member)

    def unseats(self) -> None:
        member, room = self.somebody()
        self.hub.unseat(member, room)
        self.seated[room].discard(member)
        assert member.of(room) == self.told[member][room], "something came after the last frame"

    def slows(self) -> None:
        member, _ = self.somebody()
        if self.random.random() < 0.5:
            member.slows()
        else:
            member.slows_after = self.random.randint(1, 4)

    def quickens(self) -> None:
        for member in self.members:
            if member.is_slow and self.random.random() < 0.5:
                member.quickens()

    def defers(self) -> None:
        """Take a seat that is waiting for something, and go on when that has come."""
        member, room = self.somebody()
        if room in member.careful:
            member.careful.discard(room)
            self.hub.quicken(member, [room])
        elif member not in self.seated[room]:
            member.careful.add(room)

    def answers(self) -> None:
        member, _ = self.somebody()
        self.number += 1
        member.is_answered(self.number)
        self.all[member].append(("", self.number))
        assert sorted(member.heard) == sorted(self.all[member]), "an answer overtook a frame"

    def leaves(self) -> None:
        """Lose the connection, and with it what it was owed, and come back."""
        member, _ = self.somebody()
        self.hub.leave(member)
        self.hub.enter(member)
        self.all[member] = list(member.heard)
        for room in ROOMS:
            self.seated[room].discard(member)
            heard, told = member.of(room), self.told[member][room]
            assert heard == told[: len(heard)]
            self.told[member][room] = heard

    def ends(self) -> None:
        """Let everybody be quick again and everything be written."""
        for member in self.members:
            member.slows_after, member.careful = -1, set()
            member.quickens()
        for _ in range(100):
            self.loop.rest()


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_everybody_hears_all_of_it_once_and_in_order(
    rooms: Hub, loop: Loop, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(hub, "FEW", (0, 3, 32)[seed % 3])
    monkeypatch.setattr(hub, "SLICE_S", (0.0002, 0.0011)[seed % 2])
    monkeypatch.setattr(hub, "JOINED_BYTES", 200)
    monkeypatch.setattr(frames, "JOINED_BYTES", 200)
    monkeypatch.setattr(flight, "WRITES_BETWEEN_LOOKS", (1, 2, 64)[seed % 3])
    day = Day(seed, rooms, loop)

    day.steps(400)
    day.ends()

    for member in day.members:
        for room in ROOMS:
            assert member.of(room) == day.told[member][room], f"{member.id} in the {room}"
        for buffer in member.buffers:
            assert len({name for name, *_ in buffer}) == 1
    assert not rooms._owing
    assert rooms._behind == 0
    for audience in rooms._rooms.values():
        assert not audience.careful, "somebody stayed careful who could be direct"
    for member in day.members:
        rooms.leave(member)
    assert not rooms._rooms
    assert not rooms._seats
