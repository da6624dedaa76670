"""Delivered and read."""

from server.actions import receipts
from server.dispatch import Request, Route
from server.permissions import READERS
from server.schemas.answers import DeliveredAnswer, MessageReadAnswer, ReadAnswer
from server.schemas.requests import (
    MarkConversationRead,
    MarkMessageRead,
    ReceiptDelivered,
    ReceiptRead,
)

REQUESTS = (
    Request("receipt:delivered", ReceiptDelivered, DeliveredAnswer, receipts.delivered),
    Request("receipt:read", ReceiptRead, ReadAnswer, receipts.read, asked_by=READERS),
    Request(
        "conversation:mark_read",
        MarkConversationRead,
        ReadAnswer,
        receipts.mark_read,
        (Route("POST", "conversations/{conversation_id}/mark_read/", ReadAnswer),),
        on_sockets=False,
    ),
    Request(
        "message:mark_read",
        MarkMessageRead,
        MessageReadAnswer,
        receipts.mark_message_read,
        (Route("POST", "messages/{message_id}/mark_read/", MessageReadAnswer),),
        on_sockets=False,
    ),
)
