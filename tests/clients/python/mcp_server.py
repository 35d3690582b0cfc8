"""An MCP server made with the official SDK for Python, at /mcp.

It is started with one argument, JSON: sdk ('v1' or 'v2') and port. It prints a line of JSON when it
listens.
"""

import json
import socket
import sys

import anyio
import uvicorn

OPTIONS = json.loads(sys.argv[1])
IS_V1 = OPTIONS["sdk"] == "v1"

if IS_V1:
    from mcp.server.fastmcp import Context, FastMCP as McpServer
else:
    from mcp.server.mcpserver import Context, MCPServer as McpServer

server = McpServer(f"python-{OPTIONS['sdk']}")

seen_events = {}


def seen_event(kind, number):
    return seen_events.setdefault((kind, number), anyio.Event())


async def make_events(kind, to, make):
    """Makes events from 1 on, each only once the client has seen the one before: an event that is
    held back stops all others."""
    for number in range(1, to + 1):
        await make(number)
        await seen_event(kind, number).wait()


@server.tool(structured_output=False)
def whoami(context: Context) -> str:
    """Returns the identity of the caller"""
    headers = context.request_context.request.headers
    identity = {name: value for name, value in headers.items() if name.startswith("x-mcp-")}
    return json.dumps(
        {"identity": identity, "authorization_header_arrived": "authorization" in headers}
    )


@server.tool(structured_output=False)
def create_incident() -> str:
    """Creates an incident"""
    return "created"


@server.tool(structured_output=False)
async def count(to: int, context: Context) -> str:
    """Counts slowly, and reports progress"""

    async def make(number):
        await context.report_progress(number, to)
        await anyio.sleep(1)

    await make_events("progress", to, make)
    return f"counted to {to}"


@server.tool(structured_output=False)
async def announce(to: int, context: Context) -> str:
    """Counts on the server's own stream"""

    async def make(number):
        if not IS_V1 and context.protocol_version >= "2026-07-28":
            await context.notify_tools_changed()
        else:
            await context.session.send_log_message("info", number)

    await make_events("announcement", to, make)
    return f"announced {to}"


@server.tool(structured_output=False)
def seen(kind: str, number: int) -> str:
    """Says that an event came"""
    seen_event(kind, number).set()
    return "thanks"


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(json.dumps({"event": "listening"}), flush=True)


# The test keeps the port reserved.
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", OPTIONS["port"]))

application = server.streamable_http_app()
Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])
