// An MCP server made with an official SDK for TypeScript, at /mcp.
//
// It is started with one argument, JSON: sdk ('v1' or 'v2') and port. It prints a line of JSON once
// it listens.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';

const options = JSON.parse(process.argv[2]);

function report(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/// For each event, a promise that resolves when a client has reported it.
const seenEvents = new Map();

function seenEvent(kind, number) {
  const key = `${kind} ${number}`;
  if (!seenEvents.has(key)) {
    seenEvents.set(key, Promise.withResolvers());
  }
  return seenEvents.get(key);
}

/// Makes events from 1 on, each only once the client has seen the one before: an event that is held
/// back stops all others.
async function makeEvents(kind, to, make) {
  for (let number = 1; number <= to; number += 1) {
    await make(number);
    await seenEvent(kind, number).promise;
  }
}

const text = (value) => ({ content: [{ type: 'text', text: value }] });

function addTools(server, headersOf, { progress, announce }) {
  server.registerTool('whoami', { description: 'Reports who you are' }, (extra) => {
    const headers = headersOf(extra);
    const identity = Object.fromEntries(
      Object.entries(headers).filter(([name]) => name.startsWith('x-mcp-')),
    );
    return text(
      JSON.stringify({ identity, authorization_header_arrived: 'authorization' in headers }),
    );
  });
  server.registerTool('create_incident', { description: 'Creates an incident' }, () =>
    text('created'),
  );
  server.registerTool(
    'count',
    { description: 'Counts slowly, and reports progress', inputSchema: z.object({ to: z.number() }) },
    async ({ to }, extra) => {
      await makeEvents('progress', to, async (number) => {
        await progress(extra, number, to);
        await pause(1000);
      });
      return text(`counted to ${to}`);
    },
  );
  server.registerTool(
    'announce',
    { description: "Counts on the server's own stream", inputSchema: z.object({ to: z.number() }) },
    async ({ to }) => {
      await makeEvents('announcement', to, announce);
      return text(`announced ${to}`);
    },
  );
  server.registerTool(
    'seen',
    {
      description: 'Says that an event came',
      inputSchema: z.object({ kind: z.string(), number: z.number() }),
    },
    ({ kind, number }) => {
      seenEvent(kind, number).resolve();
      return text('thanks');
    },
  );
}

/// Sessions, as in servers of revisions up to 2025-11-25.
async function version1() {
  const { McpServer } = await import('@modelcontextprotocol/sdk/server/mcp.js');
  const { StreamableHTTPServerTransport } = await import(
    '@modelcontextprotocol/sdk/server/streamableHttp.js'
  );
  const sessions = new Map();
  return async (request, response) => {
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      const server = new McpServer(
        { name: 'typescript-v1', version: '1.0.0' },
        { capabilities: { logging: {} } },
      );
      addTools(server, (extra) => extra.requestInfo.headers, {
        progress: (extra, number, total) =>
          extra.sendNotification({
            method: 'notifications/progress',
            params: { progressToken: extra._meta.progressToken, progress: number, total },
          }),
        announce: (number) => server.sendLoggingMessage({ level: 'info', data: number }),
      });
      await server.connect(transport);
    }
    await transport.handleRequest(request, response);
  };
}

/// No sessions: one server for each request, of whatever revision.
async function version2() {
  const { McpServer, createMcpHandler } = await import('@modelcontextprotocol/server');
  const { toNodeHandler } = await import('@modelcontextprotocol/node');
  const handler = createMcpHandler(() => {
    const server = new McpServer(
      { name: 'typescript-v2', version: '1.0.0' },
      { capabilities: { logging: {}, tools: { listChanged: true } } },
    );
    addTools(server, (context) => Object.fromEntries(context.http.req.headers), {
      progress: (context, number, total) =>
        context.mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken: context.mcpReq._meta.progressToken, progress: number, total },
        }),
      announce: () => handler.notify.toolsChanged(),
    });
    return server;
  });
  return toNodeHandler(handler);
}

const handle = await (options.sdk === 'v1' ? version1() : version2());
const server = createServer((request, response) => {
  if (new URL(request.url, 'http://any').pathname === '/mcp') {
    handle(request, response);
  } else {
    response.writeHead(404).end();
  }
});
// The test keeps the port reserved.
server.listen({ host: '127.0.0.1', port: options.port, reusePort: true }, () => {
  report({ event: 'listening' });
});
