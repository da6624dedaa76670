"""People."""

from server.actions import people
from server.dispatch import Request, Route
from server.schemas.answers import Unread, UserAnswer, UserPage
from server.schemas.objects import User
from server.schemas.requests import GetMe, ListUsers, PutUser

REQUESTS = (
    Request(
        "me:get",
        GetMe,
        UserAnswer,
        people.me,
        (Route("GET", "me/", User, shows="user"),),
        on_sockets=False,
    ),
    Request(
        "me:unread",
        GetMe,
        Unread,
        people.unread,
        (Route("GET", "me/unread/", Unread),),
        on_sockets=False,
    ),
    Request(
        "user:list",
        ListUsers,
        UserPage,
        people.find,
        (Route("GET", "users/", UserPage),),
        on_sockets=False,
    ),
    Request(
        "user:put",
        PutUser,
        UserAnswer,
        people.put,
        (Route("PUT", "users/{user_id}/", User, shows="user"),),
        on_sockets=False,
    ),
)
