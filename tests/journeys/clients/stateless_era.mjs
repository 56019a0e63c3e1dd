// The official TypeScript client of 2026-07-28: lists every tool, calls one, and says what came.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, token, tool, argumentsText] = process.argv.slice(2);
const client = new Client({ name: "stateless-era", version: "1" }, { versionNegotiation: { mode: "auto" } });
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const tools = [];
let cursor;
do {
  const page = await client.listTools({ cursor });
  tools.push(...page.tools.map((one) => one.name));
  cursor = page.nextCursor;
} while (cursor);
const progress = [];
const onprogress = (told) => progress.push(told.progress);
const called = await client.callTool({ name: tool, arguments: JSON.parse(argumentsText) }, { onprogress });
console.log(JSON.stringify({ tools, said: called.content[0].text, progress, version: client.getNegotiatedProtocolVersion?.() }));
await client.close();
