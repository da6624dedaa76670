"""Where everything is stored, and the one place where numbers are given out."""

from server.journal.batches import Journal
from server.journal.entries import Entry, Placed, Waiter
from server.journal.failures import database_refusal
from server.journal.numbers import (
    Draft,
    append,
    lock_conversation,
    lock_people,
    next_user_numbers,
    save_counters,
)
from server.journal.transactions import in_one_call, snapshot, transaction

__all__ = [
    "Draft",
    "Entry",
    "Journal",
    "Placed",
    "Waiter",
    "append",
    "database_refusal",
    "in_one_call",
    "lock_conversation",
    "lock_people",
    "next_user_numbers",
    "save_counters",
    "snapshot",
    "transaction",
]
