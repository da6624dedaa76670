"""The judge of `make chaos` sees each thing that must never happen, and nothing in a good run."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from checker import judge, lag
from checker.history import Attempt, Change, End, Fault, Frame, History, Line, Shown, Step
from checker.judge import Believer, Case
from checker.truth import Life, Move, Version

pytestmark = pytest.mark.one_database

TALK = "talk"
ANA, BEN = Line("ana", "ana", "node-1", ready_at=1.0), Line("ben", "ben", "node-2", ready_at=1.0)


class Belief:
    def __init__(self, *versions: Version) -> None:
        self.start = 0
        self.messages = {v.id: {**said(v), "event_seq": v.event_seq} for v in versions}


def version(number: int, seq: int, words: str, sender: str = "ana") -> Version:
    cid = f"cid-{words}"
    return Version(
        number, TALK, f"m{seq}", seq, number, sender, cid, words, is_deleted=False, is_system=False
    )


FIRST, SECOND = version(3, 1, "one"), version(4, 2, "two")


def said(of: Version) -> dict[str, object]:
    return {
        "id": of.id,
        "seq": of.seq,
        "event_seq": of.event_seq,
        "content": of.content,
        "is_deleted": of.is_deleted,
    }


def frame(line: Line, of: Version, at: float) -> Frame:
    body = {
        "conversation_id": TALK,
        "event_seq": of.event_seq,
        "prev_event_seq": of.event_seq - 1,
        "message": said(of),
    }
    return Frame.read(at, line, "message:created", body)


def send(of: Version, asked: float, answered: float) -> Change:
    attempts = [Attempt(ANA, asked, answered)]
    change = Change("send", TALK, of.sender_id, f"cid-{of.content}", of.content, attempts)
    change.end, change.message_id, change.seq = End.ACKNOWLEDGED, of.id, of.seq
    change.event_seq = of.event_seq
    return change


def removal(end: End = End.ACKNOWLEDGED) -> Change:
    return Change("remove", TALK, "ben", attempts=[Attempt(ANA, 6.0, 6.1)], end=end)


def life(*versions: Version, gone_at: int = 0, back_at: int = 0) -> Life:
    moves = [
        Move(1.0, TALK, "ana", is_active=True, event_seq=1),
        Move(2.0, TALK, "ben", is_active=True, event_seq=2),
    ]
    if gone_at:
        moves.append(Move(6.0, TALK, "ben", is_active=False, event_seq=gone_at))
    if back_at:
        moves.append(Move(17.0, TALK, "ben", is_active=True, event_seq=back_at))
    found = Life(0.0, versions=list(versions), moves=moves)
    head = max([2, gone_at, back_at, *(v.event_seq for v in versions)])
    found.heads = {TALK: (head, max((v.seq for v in versions), default=0))}
    found.index()
    return found


def good() -> Case:
    """Ana says two things, and both hear them."""
    history = History(began_at=0.0)
    history.changes = [send(FIRST, 3.0, 3.1), send(SECOND, 4.0, 4.1)]
    history.frames = [
        frame(line, of, at) for of, at in ((FIRST, 3.05), (SECOND, 4.05)) for line in (ANA, BEN)
    ]
    talks = {TALK: Belief(FIRST, SECOND)}
    believers = [Believer("ana", "ana", talks), Believer("ben", "ben", talks)]
    return Case(history, [life(FIRST, SECOND)], believers)


def crossed(case: Case) -> list[str]:
    return [count.line for count in judge.judged(case) if count.number]


def test_a_good_run_crosses_no_line() -> None:
    assert crossed(good()) == []


def loses_an_acknowledged_send(case: Case) -> None:
    case.lives = [life(FIRST)]
    case.history.frames = case.history.frames[:2]
    for believer in case.believers:
        believer.talks = {TALK: Belief(FIRST)}


def stores_twice(case: Case) -> None:
    again = replace(SECOND, id="m3", seq=3, event_seq=5)
    case.lives = [life(FIRST, SECOND, again)]
    for believer in case.believers:
        believer.talks = {TALK: Belief(FIRST, SECOND, again)}


def leaves_a_hole(case: Case) -> None:
    case.lives[0].heads = {TALK: (5, 2)}


def answers_with_another_number(case: Case) -> None:
    case.history.changes[1].seq = 7


def stores_what_was_refused(case: Case) -> None:
    change = case.history.changes[1]
    change.end = End.REFUSED
    change.attempts[0].code = change.code = "not_found"


def lets_a_stranger_speak(case: Case) -> None:
    case.history.changes = []
    spoken = replace(SECOND, sender_id="eve")
    case.lives = [life(FIRST, spoken)]


def turns_time_round(case: Case) -> None:
    first, second = case.history.changes
    first.attempts[0], second.attempts[0] = second.attempts[0], first.attempts[0]


def lets_a_removed_person_hear(case: Case) -> None:
    late = version(6, 3, "three")
    case.lives = [life(FIRST, SECOND, late, gone_at=5)]
    case.history.frames.append(frame(BEN, late, 7.0))
    case.believers = []


def tells_twice(case: Case) -> None:
    case.history.frames.append(frame(BEN, SECOND, 5.0))


def tells_something_else(case: Case) -> None:
    case.history.frames[-1].body["message"]["content"] = "tow"


def shows_a_removed_person_history(case: Case) -> None:
    case.lives = [life(FIRST, SECOND, gone_at=5)]
    case.history.changes.append(removal())
    case.history.shown.append(Shown(7.0, 7.1, BEN, TALK, [3]))


def lets_a_removed_person_see_typing(case: Case) -> None:
    case.lives = [life(FIRST, SECOND, gone_at=5)]
    typing = {"conversation_id": TALK, "user_id": "ana"}
    case.history.frames.append(Frame.read(12.0, BEN, "typing:started", typing))


def shows_what_nobody_said(case: Case) -> None:
    case.believers[0].talks = {TALK: Belief(FIRST, replace(SECOND, content="tow"))}


def misses_something(case: Case) -> None:
    case.believers[1].talks = {TALK: Belief(FIRST)}


HAPPENINGS = (
    loses_an_acknowledged_send,
    stores_twice,
    leaves_a_hole,
    answers_with_another_number,
    stores_what_was_refused,
    lets_a_stranger_speak,
    turns_time_round,
    lets_a_removed_person_hear,
    tells_twice,
    tells_something_else,
    shows_a_removed_person_history,
    lets_a_removed_person_see_typing,
    shows_what_nobody_said,
    misses_something,
)


@pytest.mark.parametrize(("happens", "line"), list(zip(HAPPENINGS, judge.LINES, strict=True)))
def test_each_thing_that_must_not_happen_crosses_its_line(
    happens: Callable[[Case], None], line: str
) -> None:
    case = good()
    happens(case)
    assert crossed(case) == [line]


def test_a_removal_that_nobody_knows_of_excuses_an_answer() -> None:
    case = good()
    case.lives = [life(FIRST, SECOND, gone_at=5)]
    case.history.changes.append(removal(End.UNKNOWN))
    case.history.shown.append(Shown(7.0, 7.1, BEN, TALK, [3]))
    assert crossed(case) == []


def test_what_was_lost_with_an_older_copy_was_true_until_then() -> None:
    case = good()
    before, after = case.lives[0], life(FIRST)
    before.ended_at = after.began_at = 5.0
    case.lives = [before, after]
    for believer in case.believers:
        believer.talks = {TALK: Belief(FIRST)}
    assert crossed(case) == []


def test_a_removal_that_an_older_copy_forgot_excuses_an_answer() -> None:
    case = good()
    before, after = life(FIRST, SECOND, gone_at=5), life(FIRST, SECOND)
    before.ended_at = after.began_at = 6.5
    case.lives = [before, after]
    case.history.changes.append(removal())
    case.history.shown.append(Shown(20.0, 20.1, BEN, TALK, [3]))
    assert crossed(case) == []


def waits_of(case: Case, number: int) -> tuple[float, float]:
    """Return how long Ben's device waited for a number, of all time and when nothing was broken."""
    case.history.steps["ben", TALK] = [Step(3.5, 3, BEN), Step(20.0, number, BEN)]
    (found,) = [one for one in lag.lags(case) if one.what.startswith(f"{number} ")]
    return found.seconds, found.owed


def test_a_device_waits_from_the_storing_until_it_has_it() -> None:
    assert waits_of(good(), 4) == (16.0, 16.0)


def test_a_fault_that_keeps_a_node_from_the_database_excuses_it() -> None:
    case = good()
    case.history.faults.append(Fault("stall", "postgres", 5.0, 12.0, stops_storing=True))
    assert waits_of(case, 4) == (16.0, 8.0)


def test_nobody_waits_for_anything_while_they_are_out() -> None:
    case = good()
    case.lives = [life(FIRST, SECOND, gone_at=5, back_at=6)]
    assert waits_of(case, 4) == (5.0, 5.0)
