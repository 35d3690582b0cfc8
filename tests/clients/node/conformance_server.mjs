// An MCP server with everything that the scenarios of the official conformance suite require of a
// server, at /mcp: with sessions for the older revisions, without them for 2026-07-28.
//
// The suite defines the names test_… and test://…: each scenario describes what it expects
// (`conformance list --server`, and the descriptions in the package).
//
// It is started with one argument, JSON: port. It prints a line of JSON once it listens.
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import {
  McpServer,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  acceptedContent,
  completable,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  inputResponse,
  isLegacyRequest,
} from '@modelcontextprotocol/server';
import {
  localhostHostValidation,
  localhostOriginValidation,
  toNodeHandler,
} from '@modelcontextprotocol/node';
import { z } from 'zod';

const options = JSON.parse(process.argv[2]);

// One red pixel, and a very short sound.
const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';
const WAV = Buffer.from(
  '524946462400000057415645666d74201000000001000100401f0000401f00000100080064617461000000',
  'hex',
).toString('base64');

const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const embedded = (uri, mimeType, value) => ({
  type: 'resource',
  resource: { uri, mimeType, text: value },
});
const result = (...content) => ({ content });
const messages = (...contents) => ({
  messages: contents.map((content) => ({ role: 'user', content })),
});

const states = createRequestStateCodec({ key: randomBytes(32) });

/// The input that a server requests from a user.
function form(properties, required = Object.keys(properties)) {
  return { type: 'object', properties, required };
}

const NAME = form({ name: { type: 'string' } });

const DEFAULTS = form(
  {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
  [],
);

const titled = (...titles) =>
  titles.map((title, index) => ({ const: `value${index + 1}`, title }));

const ENUMS = form(
  {
    untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
    titledSingle: { type: 'string', oneOf: titled('First Option', 'Second Option', 'Third Option') },
    legacyEnum: {
      type: 'string',
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
    titledMulti: { type: 'array', items: { anyOf: titled('First Choice', 'Second Choice', 'Third Choice') } },
  },
  [],
);

/// A schema with keywords that a server must forward unchanged.
const WIDE_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

function newServer() {
  const server = new McpServer(
    { name: 'conformance', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: { listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: states.verify },
    },
  );
  addContentTools(server);
  addTalkingTools(server);
  addToolsThatNeedInput(server);
  addResources(server);
  addPrompts(server);
  return server;
}

function tool(server, name, run, inputSchema = z.object({})) {
  server.registerTool(name, { description: `Tests ${name}`, inputSchema }, run);
}

function addContentTools(server) {
  const returns = (name, ...content) => tool(server, name, () => result(...content));
  returns('test_simple_text', text('This is a simple text response for testing.'));
  returns('test_image_content', image);
  returns('test_audio_content', { type: 'audio', data: WAV, mimeType: 'audio/wav' });
  returns(
    'test_embedded_resource',
    embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  );
  returns(
    'test_multiple_content_types',
    text('Multiple content types test:'),
    image,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  );
  tool(server, 'test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool(server, 'json_schema_2020_12_tool', () => result(text('fits')), fromJsonSchema(WIDE_SCHEMA));
  tool(
    server,
    'test_custom_headers',
    (values) => result(text(JSON.stringify(values))),
    fromJsonSchema(
      form(
        {
          region: { type: 'string', 'x-mcp-header': 'Region' },
          priority: { type: 'integer', 'x-mcp-header': 'Priority' },
          verbose: { type: 'boolean', 'x-mcp-header': 'Verbose' },
          query: { type: 'string' },
        },
        [],
      ),
    ),
  );
}

/// Tools that send messages or requests while they run.
function addTalkingTools(server) {
  const log = (context, data) =>
    context.mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data } });
  tool(server, 'test_tool_with_logging', async (_values, context) => {
    await log(context, 'Tool execution started');
    await pause(50);
    await log(context, 'Tool processing data');
    await pause(50);
    await log(context, 'Tool execution completed');
    return result(text('logged'));
  });
  tool(server, 'test_logging_tool', async (_values, context) => {
    await context.mcpReq.log('info', 'logged');
    return result(text('logged'));
  });
  tool(server, 'test_tool_with_progress', async (_values, context) => {
    const progressToken = context.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        const params = { progressToken, progress, total: 100 };
        await context.mcpReq.notify({ method: 'notifications/progress', params });
      }
      await pause(50);
    }
    return result(text('done'));
  });
  tool(server, 'test_reconnection', async (_values, context) => {
    context.http?.closeSSE?.();
    await pause(100);
    return result(text('reconnected'));
  });
  tool(
    server,
    'test_sampling',
    async ({ prompt }, context) => {
      const params = { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 };
      const { content } = await context.mcpReq.send({ method: 'sampling/createMessage', params });
      return result(text(`LLM response: ${content.text}`));
    },
    z.object({ prompt: z.string() }),
  );
  const ask = async (context, message, requestedSchema) => {
    const params = { message, requestedSchema };
    const { action, content } = await context.mcpReq.send({ method: 'elicitation/create', params });
    return `action=${action}, content=${JSON.stringify(content ?? {})}`;
  };
  tool(
    server,
    'test_elicitation',
    async ({ message }, context) => {
      const schema = form({ username: { type: 'string' }, email: { type: 'string' } });
      return result(text(`User response: ${await ask(context, message, schema)}`));
    },
    z.object({ message: z.string() }),
  );
  for (const [name, schema] of [
    ['test_elicitation_sep1034_defaults', DEFAULTS],
    ['test_elicitation_sep1330_enums', ENUMS],
  ]) {
    tool(server, name, async (_values, context) =>
      result(text(`Elicitation completed: ${await ask(context, 'Please fill in', schema)}`)),
    );
  }
  for (const [name, notify] of [
    ['test_trigger_tool_change', () => modern.notify.toolsChanged()],
    ['test_trigger_prompt_change', () => modern.notify.promptsChanged()],
  ]) {
    tool(server, name, () => {
      notify();
      return result(text('told'));
    });
  }
}

const elicit = (message, requestedSchema) => inputRequired.elicit({ message, requestedSchema });
const sample = (question, maxTokens) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens });

/// Tools that respond with a question, and are called again with the response (2026-07-28).
function addToolsThatNeedInput(server) {
  const needing = (name, run) => tool(server, name, (_values, { mcpReq }) => run(mcpReq));
  const askName = () =>
    inputRequired({ inputRequests: { user_name: elicit('What is your name?', NAME) } });

  needing('test_input_required_result_elicitation', ({ inputResponses }) => {
    const { name } = acceptedContent(inputResponses, 'user_name', z.object({ name: z.string() })) ?? {};
    return name === undefined ? askName() : result(text(`Hello, ${name}!`));
  });
  needing('test_input_required_result_sampling', ({ inputResponses }) => {
    const answer = inputResponse(inputResponses, 'capital_question');
    return answer.kind === 'sampling'
      ? result(text(answer.result.content.text))
      : inputRequired({
          inputRequests: { capital_question: sample('What is the capital of France?', 100) },
        });
  });
  needing('test_input_required_result_list_roots', ({ inputResponses }) => {
    const answer = inputResponse(inputResponses, 'client_roots');
    return answer.kind === 'roots'
      ? result(text(answer.roots.map(({ uri }) => uri).join(' ')))
      : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  for (const name of [
    'test_input_required_result_request_state',
    'test_input_required_result_tampered_state',
  ]) {
    needing(name, async ({ inputResponses, requestState }) =>
      inputResponses && requestState()
        ? result(text('state-ok'))
        : inputRequired({
            inputRequests: {
              confirm: elicit('Please confirm', form({ ok: { type: 'boolean' } })),
            },
            requestState: await states.mint({ of: name }),
          }),
    );
  }
  needing('test_input_required_result_multiple_inputs', async ({ inputResponses, requestState }) =>
    inputResponses && requestState()
      ? result(text(`all of ${Object.keys(inputResponses)}`))
      : inputRequired({
          inputRequests: {
            user_name: elicit('What is your name?', NAME),
            greeting: sample('Generate a greeting', 50),
            client_roots: inputRequired.listRoots(),
          },
          requestState: await states.mint({ round: 1 }),
        }),
  );
  needing('test_input_required_result_multi_round', async ({ inputResponses, requestState }) => {
    const round = inputResponses && requestState()?.round;
    if (round === 2) {
      return result(text('both are known'));
    }
    const next = (step, message, schema, number) =>
      states
        .mint({ round: number })
        .then((state) =>
          inputRequired({ inputRequests: { [step]: elicit(message, schema) }, requestState: state }),
        );
    return round === 1
      ? next('step2', 'Step 2: What is your favorite color?', form({ color: { type: 'string' } }), 2)
      : next('step1', 'Step 1: What is your name?', NAME, 1);
  });
  needing('test_input_required_result_capabilities', ({ envelope }) => {
    const capabilities = envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
    return inputRequired({
      inputRequests: {
        ...(capabilities.elicitation && { user_name: elicit('What is your name?', NAME) }),
        ...(capabilities.sampling && { greeting: sample('Generate a greeting', 50) }),
        ...(capabilities.roots && { client_roots: inputRequired.listRoots() }),
      },
      requestState: 'asked',
    });
  });
  needing('test_missing_capability', ({ inputResponses }) =>
    inputResponses
      ? result(text('answered'))
      : inputRequired({ inputRequests: { greeting: sample('Generate a greeting', 50) } }),
  );
  // Its notification turns the response into a stream, on which no request is allowed.
  needing('test_streaming_elicitation', async ({ inputResponses, notify, _meta }) => {
    const params = { progressToken: _meta?.progressToken ?? 0, progress: 1 };
    await notify({ method: 'notifications/progress', params });
    return inputResponses ? result(text('answered')) : askName();
  });
}

function addResources(server) {
  const fixed = (uri, mimeType, content) =>
    server.registerResource(
      uri.slice('test://'.length),
      uri,
      { description: `Tests ${uri}`, mimeType },
      () => ({ contents: [{ uri, mimeType, ...content }] }),
    );
  fixed('test://static-text', 'text/plain', {
    text: 'This is the content of the static text resource.',
  });
  fixed('test://static-binary', 'image/png', { blob: PNG });
  fixed('test://watched-resource', 'text/plain', { text: 'watched' });
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'Tests templates', mimeType: 'application/json' },
    ({ href: uri }, { id }) => ({
      contents: [
        {
          uri,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
  for (const method of ['resources/subscribe', 'resources/unsubscribe', 'logging/setLevel']) {
    server.server.setRequestHandler(method, () => ({}));
  }
}

function addPrompts(server) {
  const prompt = (name, run, argsSchema) =>
    server.registerPrompt(name, { description: `Tests ${name}`, argsSchema }, run);
  prompt('test_simple_prompt', () => messages(text('This is a simple prompt for testing.')));
  const completes = completable(z.string(), (value) =>
    ['paris', 'park', 'party'].filter((own) => own.startsWith(value)),
  );
  prompt(
    'test_prompt_with_arguments',
    ({ arg1, arg2 }) => messages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
    z.object({ arg1: completes, arg2: z.string() }),
  );
  prompt(
    'test_prompt_with_embedded_resource',
    ({ resourceUri }) =>
      messages(
        embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
        text('Please process the embedded resource above.'),
      ),
    z.object({ resourceUri: z.string() }),
  );
  prompt('test_prompt_with_image', () => messages(image, text('Please analyze the image above.')));
  prompt('test_input_required_result_prompt', ({ mcpReq: { inputResponses } }) => {
    const schema = form({ context: { type: 'string' } });
    const { context } = acceptedContent(inputResponses, 'user_context') ?? {};
    return context === undefined
      ? inputRequired({
          inputRequests: { user_context: elicit('What context should the prompt use?', schema) },
        })
      : messages(text(`In the context of ${context}`));
  });
}

const modern = createMcpHandler(newServer, { legacy: 'reject' });

const sessions = new Map();

async function inSession(request) {
  let transport = sessions.get(request.headers.get('mcp-session-id'));
  if (!transport) {
    transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => sessions.set(id, transport),
      eventStore: new Events(),
      retryInterval: 500,
    });
    await newServer().connect(transport);
  }
  return transport.handleRequest(request);
}

/// The events of a session, so that a client can resume and get those that it missed.
class Events {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return `${stream}_${this.#events.length - 1}`;
  }

  async getStreamIdForEventId(id) {
    return this.#events[id.slice(id.lastIndexOf('_') + 1)]?.stream;
  }

  async replayEventsAfter(id, { send }) {
    const last = Number(id.slice(id.lastIndexOf('_') + 1));
    const { stream } = this.#events[last];
    for (const [index, event] of this.#events.entries()) {
      if (index > last && event.stream === stream) {
        await send(`${stream}_${index}`, event.message);
      }
    }
    return stream;
  }
}

const handle = toNodeHandler({
  fetch: async (request) =>
    (await isLegacyRequest(request)) ? inSession(request) : modern.fetch(request),
});
// Pages of other hosts must not call it, whatever name they use for this machine.
const guards = [localhostHostValidation(), localhostOriginValidation()];
const server = createServer((request, response) => {
  if (guards.every((isAllowed) => isAllowed(request, response))) {
    handle(request, response);
  }
});
// The test keeps the port reserved.
server.listen({ host: '127.0.0.1', port: options.port, reusePort: true }, () => {
  process.stdout.write(`${JSON.stringify({ event: 'listening' })}\n`);
});
