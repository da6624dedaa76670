"""The same messenger on Django, Channels and REST framework, as many teams have it today.

A consumer a connection stores through the ORM and tells the channel layer's group; a view set
answers the history page.

    DATABASE_URL=postgresql://... uvicorn django_app:application --port PORT
"""

import json
import os
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

_at = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY="only for measuring",
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "channels",
        "rest_framework",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _at.hostname,
            "PORT": _at.port,
            "USER": _at.username,
            "PASSWORD": _at.password,
            "NAME": _at.path[1:],
            "CONN_MAX_AGE": 600,
        }
    },
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
)
django.setup()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.urls import path, re_path  # noqa: E402
from rest_framework import authentication, exceptions, generics, serializers  # noqa: E402

PAGE = 50


class Conversation(models.Model):
    last_message_id = models.BigIntegerField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "auth"
        db_table = "conversations"


class Member(models.Model):
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)
    user_id = models.BigIntegerField()

    class Meta:
        app_label = "auth"
        db_table = "members"
        unique_together = (("conversation", "user_id"),)


class Message(models.Model):
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)
    sender_id = models.BigIntegerField()
    type = models.CharField(max_length=10, default="text")
    content = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "auth"
        db_table = "messages"
        indexes = [models.Index(fields=["conversation", "id"], name="messages_page")]


def prepare() -> None:
    """Make the tables, and people who talk in pairs."""
    if "messages" in connection.introspection.table_names():
        return
    with connection.schema_editor() as editor:
        for model in (Conversation, Member, Message):
            editor.create_model(model)
    Conversation.objects.bulk_create([Conversation(id=number) for number in range(1, 1001)])
    Member.objects.bulk_create(
        [Member(conversation_id=(user + 1) // 2, user_id=user) for user in range(1, 2001)]
    )
    connection.close()


prepare()


class Chat(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.conversation = int(self.scope["url_route"]["kwargs"]["conversation_id"])
        self.user = int(self.scope["query_string"].decode().split("=")[1])
        self.group = f"conversation_{self.conversation}"
        if not await self.is_member():
            await self.close()
            return
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    @database_sync_to_async
    def is_member(self) -> bool:
        return Member.objects.filter(conversation_id=self.conversation, user_id=self.user).exists()

    @database_sync_to_async
    def save(self, content: str) -> Message:
        message = Message.objects.create(
            conversation_id=self.conversation, sender_id=self.user, content=content
        )
        Conversation.objects.get(id=self.conversation).save()
        return message

    async def receive(self, text_data: str) -> None:
        if not await self.is_member():
            return
        message = await self.save(json.loads(text_data)["content"])
        body = {
            "id": message.id,
            "content": message.content,
            "sender": self.user,
            "created_at": message.created_at.isoformat(),
        }
        await self.channel_layer.group_send(self.group, {"type": "chat.message", "message": body})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(event["message"]))


class BearerNumber(authentication.BaseAuthentication):
    """Believe the number: what is measured is the page, not the token."""

    def authenticate(self, request: Any) -> tuple[Any, None]:
        user = type("User", (), {"is_authenticated": True})()
        user.id = int(request.headers["Authorization"].split()[1])
        return user, None


class MessageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Message
        fields = ("id", "conversation", "sender_id", "type", "content", "created_at")


class History(generics.ListAPIView):
    serializer_class = MessageSerializer
    authentication_classes = (BearerNumber,)

    def get_queryset(self) -> Any:
        conversation = self.kwargs["conversation"]
        if not Member.objects.filter(
            conversation_id=conversation, user_id=self.request.user.id
        ).exists():
            raise exceptions.NotFound
        found = Message.objects.filter(conversation_id=conversation)
        if "before" in self.request.query_params:
            found = found.filter(id__lt=int(self.request.query_params["before"]))
        return reversed(found.order_by("-id")[:PAGE])

    def filter_queryset(self, queryset: Any) -> Any:
        return list(queryset)


urlpatterns = [path("conversations/<int:conversation>/messages", History.as_view())]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([re_path(r"ws/chat/(?P<conversation_id>\d+)/$", Chat.as_asgi())]),
    }
)
