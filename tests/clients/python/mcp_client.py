"""An MCP client made with the official SDK for Python, which knows only a URL.

It is started with one argument, JSON:
  sdk                   'v1' or 'v2'
  url                   the MCP endpoint
  steps                 what it does once it is connected: {tool, arguments}; {listen: true}, which
                        opens the server's own stream; {list: true}, which lists the tools; or
                        {until_expired: true}, which waits until its access token has expired
  person                the name of the user who logs in
  grant_types           the grant types that it registers for
  service               {client_id, client_secret, issuer, scope}: it logs in as a service
  protocol              v2 only: 'auto' (the SDK's default) or 'legacy'

It prints lines of JSON: each HTTP exchange, each authorization that the SDK asked the person for, what
the server sent, and how each step ended.
"""

import json
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import anyio
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from person import Person

OPTIONS = {
    "person": "ada",
    "grant_types": ["authorization_code", "refresh_token"],
    "protocol": "auto",
    "steps": [],
    **json.loads(sys.argv[1]),
}
IS_V1 = OPTIONS["sdk"] == "v1"
REDIRECT_URL = "http://127.0.0.1:33418/callback"

if IS_V1:
    import httpx
else:
    import httpx2 as httpx


def report(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


class Memory:
    """The interface that the SDK requires of an application: to keep state."""

    tokens = None
    tokens_expire = None
    client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        # The SDK counts from the arrival of the token, so for it the token lives slightly longer.
        self.tokens_expire = time.time() + tokens.expires_in

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


class UserAtTheBrowser:
    """The additional interface for a user: to open a browser, and report its last URL."""

    def __init__(self):
        self._person = Person(OPTIONS["person"])
        self._callback = None

    async def redirect(self, url):
        asked = dict(parse_qsl(urlsplit(url).query))
        report("authorization", scope=asked.get("scope"), resource=asked.get("resource"))
        self._callback = await anyio.to_thread.run_sync(self._person.authorize, url, REDIRECT_URL)
        if "error" in self._callback:
            raise RuntimeError("{error}: {error_description}".format(**self._callback))

    async def callback(self):
        if IS_V1:
            return self._callback["code"], self._callback.get("state")
        from mcp.shared.auth import AuthorizationCodeResult

        return AuthorizationCodeResult(**self._callback)


def auth_provider(memory):
    service = OPTIONS.get("service")
    if service:
        scope = {"scopes" if IS_V1 else "scope": service.pop("scope", None)}
        return ClientCredentialsOAuthProvider(OPTIONS["url"], memory, **service, **scope)
    user = UserAtTheBrowser()
    metadata = OAuthClientMetadata(
        client_name=f"Python SDK {OPTIONS['sdk']}",
        redirect_uris=[REDIRECT_URL],
        grant_types=OPTIONS["grant_types"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(
        OPTIONS["url"], metadata, memory, redirect_handler=user.redirect, callback_handler=user.callback
    )


class Client:
    """A client of either version."""

    def __init__(self, memory):
        self._memory = memory
        self._open_stream = anyio.Event()
        self._announcements = 0

    @asynccontextmanager
    async def connected(self):
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(
                httpx.AsyncClient(
                    auth=auth_provider(self._memory),
                    event_hooks={"response": [self._observe]},
                    timeout=httpx.Timeout(30, read=300),
                    trust_env=False,
                )
            )
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            streams = streamable_http_client(OPTIONS["url"], http_client=http)
            if IS_V1:
                from mcp import ClientSession

                read, write, _ = await stack.enter_async_context(streams)
                session = ClientSession(read, write, logging_callback=self._on_message)
                self._client = await stack.enter_async_context(session)
                result = await session.initialize()
                protocol = result.protocolVersion
            else:
                import mcp

                client = mcp.Client(
                    streams, mode=OPTIONS["protocol"], logging_callback=self._on_message
                )
                self._client = await stack.enter_async_context(client)
                protocol = client.session.protocol_version
            report("done", step="connect", attempts=1, result={"protocol": protocol})
            yield
            self._tasks.cancel_scope.cancel()

    async def take(self, step):
        if "until_expired" in step:
            while time.time() <= self._memory.tokens_expire:
                await anyio.sleep(0.05)
            return {}
        if "listen" in step:
            if OPTIONS["protocol"] == "legacy" or IS_V1:
                await self._open_stream.wait()
            else:
                await self._tasks.start(self._listen)
            return {}
        if "list" in step:
            result = await self._client.list_tools()
            return [tool.name for tool in result.tools]
        result = await self._client.call_tool(
            step["tool"], step.get("arguments", {}), progress_callback=self._on_progress
        )
        return result.model_dump(mode="json")

    async def _listen(self, *, task_status):
        async with self._client.listen(tools_list_changed=True) as subscription:
            task_status.started()
            async for _ in subscription:
                self._announcements += 1
                self._saw("announcement", self._announcements)

    async def _on_message(self, message):
        self._saw("announcement", message.data)

    async def _on_progress(self, progress, total, message):
        self._saw("progress", int(progress))

    def _saw(self, kind, number):
        """Reports that this event arrived, so that the server makes the next one."""
        report(kind, number=number)
        self._tasks.start_soon(self._client.call_tool, "seen", {"kind": kind, "number": number})

    async def _observe(self, response):
        request = response.request
        form = request.headers.get("content-type") == "application/x-www-form-urlencoded"
        body = dict(parse_qsl(request.content.decode())) if form else {}
        report(
            "exchange",
            method=request.method,
            url=str(request.url),
            grant_type=body.get("grant_type"),
            status=response.status_code,
        )
        if request.method == "GET" and str(request.url) == OPTIONS["url"] and response.is_success:
            self._open_stream.set()


def failed(step, error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    report("failed", step=step, attempts=1, error=f"{type(error).__name__}: {error}")


async def main():
    client = Client(Memory())
    step = "connect"
    try:
        async with client.connected():
            for taken in OPTIONS["steps"]:
                step = taken.get("tool") or next(iter(taken))
                try:
                    result = await client.take(taken)
                except Exception as error:
                    failed(step, error)
                else:
                    report("done", step=step, attempts=1, result=result)
            step = "end"
    except Exception as error:
        failed(step, error)


anyio.run(main)
