"""A long history in Chromium: it is read upwards, and what one reads does not move."""

from typing import Any

import pytest
from playwright.async_api import expect

from server.ids import new_id
from server.models import Conversation, Message
from tests.people import Person
from tests.reader import Reader, Readers

pytestmark = pytest.mark.one_database

MANY = 5_000
STILL_PX = 2
STEP_PX = 2_000
MOST_ELEMENTS = 400
BEGINNING = "This is where the conversation begins."

# Scrolls up window by window until the beginning. After each step the message that is being read is
# watched while the page draws and brings older ones; reports how far the worst of them moved, the
# most rows there ever were, and every number that was seen.
UPWARDS = """
async (scroller, [step, beginning]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const rows = () => [...scroller.querySelectorAll('li')];
  // The time stands below what was said; a row's own box may grow or shrink above it.
  const placeOf = (row) => row.querySelector('time')?.getBoundingClientRect().bottom;
  const numbers = new Set([undefined]);
  const report = { moved: 0, rows: 0 };
  while (scroller.scrollTop > 0 || !scroller.textContent.includes(beginning)) {
    const before = scroller.scrollTop;
    scroller.scrollTop = Math.max(0, before - step);
    const edge = scroller.getBoundingClientRect().top + scroller.clientHeight / 3;
    const read = rows().find((row) => placeOf(row) > edge);
    const place = placeOf(read);
    for (let frames = 0; frames < 2; frames++) {
      await frame();
      if (!read.isConnected) report.moved = Infinity;
      report.moved = Math.max(report.moved, Math.abs(placeOf(read) - place));
    }
    for (const row of rows()) numbers.add(row.textContent.match(/number (\\d+)/)?.[1]);
    report.rows = Math.max(report.rows, rows().length);
  }
  return { ...report, seen: numbers.size - 1 };
}
"""


async def _fill(talk: dict[str, Any], person: Person) -> None:
    """Let somebody have said very much, faster than through the wire."""
    row = await Conversation.get(id=talk["id"])
    start = row.created_at
    first = row.last_seq
    await Message.bulk_create(
        [
            Message(
                id=new_id(),
                conversation_id=row.id,
                seq=first + number,
                event_seq=row.head + number,
                sender_id=person.id,
                type="text",
                content=f"This is number {number}" + " and it goes on" * (60 // (number % 30 + 1)),
                countable=row.countable + number,
                created_at=start + number * 61_000,
            )
            for number in range(1, MANY + 1)
        ],
        batch_size=500,
    )
    row.last_seq, row.head = first + MANY, row.head + MANY
    row.countable += MANY
    row.last_activity_at = start
    await row.save()


async def _place(reader: Reader, text: str) -> float:
    box = await reader.message(text).bounding_box()
    assert box is not None
    return box["y"]


async def test_five_thousand_messages_are_read_to_the_beginning_without_a_jump(
    readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await _fill(talk, bob)
    await ada.post(f"conversations/{talk['id']}/mark_read/")
    hers = await readers.of(ada, talk)
    await hers.sees(f"number {MANY}")

    report = await hers.thread.evaluate(UPWARDS, [STEP_PX, BEGINNING])

    assert report["moved"] <= STILL_PX
    assert report["seen"] == MANY
    assert report["rows"] <= MOST_ELEMENTS
    await expect(hers.page.get_by_text(BEGINNING)).to_be_visible()

    # Whoever reads up there is not torn away by what is said now.
    before = await _place(hers, "This is number 3 ")
    await bob.says(talk, "Something new")
    latest = hers.button("Go to the newest message")
    await expect(latest).to_contain_text("1")
    assert abs(await _place(hers, "This is number 3 ") - before) <= STILL_PX
    await latest.click()
    await hers.sees("Something new")
    await expect(latest).not_to_be_visible()
    await expect(hers.row("Bob").get_by_text("unread")).not_to_be_attached()
