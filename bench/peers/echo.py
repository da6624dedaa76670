"""Stock python-socketio on aiohttp doing nothing but a broadcast: python echo.py PORT."""

import sys
from typing import Any

import socketio
from aiohttp import web

server = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*")


@server.event
async def connect(sid: str, _environ: dict[str, Any], _auth: Any = None) -> None:
    """Let everybody into the one room."""
    await server.enter_room(sid, "room")


@server.on("msg")
async def msg(_sid: str, payload: Any) -> dict[str, bool]:
    """Tell everybody."""
    await server.emit("msg", payload, room="room")
    return {"ok": True}


if __name__ == "__main__":
    app = web.Application()
    server.attach(app)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
