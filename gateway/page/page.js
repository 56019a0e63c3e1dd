"use strict";
// Everything shown comes from the API of this same port; text is set as text, never as markup, and all of it is seen.

const RECONNECT_MS = 2000;
const TOKEN_KEY = "promptcraft-token";
// What MCP servers offer changes seldom, and asking costs each of them a connection.
const SERVERS_MS = 15000;
const CALLS_MS = 5000;
const SHOWN_FAILURES = 5;
const byId = (id) => document.getElementById(id);

// Names and answers come from anybody. What has no shape, or turns round what stands beside it, would let one text pass
// for another; what joins letters and emoji (U+200C, U+200D) has a use and stays.
const UNSEEN =
  /[\0-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\xAD\u061C\u180E\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB\u{E0000}-\u{E007F}]/gu;
const codePoint = (letter) => `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const visible = (text) => String(text).replace(UNSEEN, (letter) => `⟨${codePoint(letter)}⟩`);

// --- Making elements ---

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  const parts = children.filter((child) => child !== null && child !== undefined);
  made.append(...parts.map((part) => (part instanceof Node ? part : visible(part))));
  return made;
}

// Roles are given outright: on a phone rows are blocks, and browsers then forget that they were rows.
function cell(name, ...children) {
  const made = element("td", "", ...children);
  if (made.textContent === "–") made.className = "empty";
  made.dataset.name = name;
  made.setAttribute("role", "cell");
  return made;
}

function header(...children) {
  const made = element("th", "", ...children);
  made.scope = "row";
  made.setAttribute("role", "rowheader");
  return made;
}

function row(...cells) {
  const made = element("tr", "", ...cells);
  made.setAttribute("role", "row");
  return made;
}

function time(iso) {
  const made = element("time", "number", new Date(iso).toLocaleTimeString());
  made.dateTime = iso;
  return made;
}

const state = (status, text = status) => element("span", `state ${status}`, element("span", "dot"), text);
const note = (text, className = "note") => (text ? element("span", className, text) : null);
const number = (text) => element("span", "number", text);
const milliseconds = (value) => (value === null ? "–" : `${value} ms`);

const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const tokens = ({ requests, input_tokens, output_tokens }) =>
  (requests ? `${input_tokens} + ${output_tokens} tokens` : "–");
const used = ({ requests, tool_calls, price_usd }) => [
  requests ? counted(requests, "request") : null,
  tool_calls ? counted(tool_calls, "tool call") : null,
  price_usd === null ? null : `$${price_usd.toFixed(4)}`,
].filter(Boolean);

const shortId = (id) => id.slice(0, 8);

// --- Showing a state ---

const shown = new WeakMap();

// Only what differs is replaced, so that the focus, a selection or a reader's place is not lost every two seconds.
function showList(id, items, keyOf, make) {
  const list = byId(id);
  const old = new Map([...list.children].map((child) => [shown.get(child)?.key, child]));
  const wanted = items.map((item) => {
    const [key, content] = [keyOf(item), JSON.stringify(item)];
    const known = old.get(key);
    if (known && shown.get(known).content === content) return known;
    const made = make(item);
    shown.set(made, { key, content });
    return made;
  });
  const kept = new Set(wanted);
  for (const child of [...list.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (list.children[place] !== child) list.insertBefore(child, list.children[place] ?? null);
  });
}

function serviceRow([name, service]) {
  return row(
    header(name, note(service.stand_in ? "stand-in" : "")),
    cell("Health", state(service.status), note(service.problem, service.status === "ok" ? "note" : "alert")),
    cell("Source", service.source ?? "–", note(service.action)),
    cell("Endpoint", element("code", "", service.endpoint ?? "–")),
    cell("Version", number(service.version ?? "–")),
    cell("Latency", number(milliseconds(service.latency_ms))),
    cell("Since", time(service.since)),
    cell("Why", service.reason || "–", note(service.stand_in), note(service.differs, "alert")));
}

function agentRow(agent) {
  const needs = Object.entries(agent.dependencies).map(([name, need]) => (need.met ? name : `${name} (missing)`));
  return row(
    header(agent.name === agent.id ? agent.id : `${agent.name} (${agent.id})`, note(agent.description)),
    cell("Available", agent.available ? state("ok", "yes") : state("down", "no"), note(agent.reason, "alert")),
    cell("From", agent.tier ?? "–", element("code", "note", agent.path ?? "")),
    cell("Model", agent.model ?? "–", note(agent.answered_by)),
    cell("Missing tools", agent.missing_tools.join(", ") || "–"),
    cell("Needs", needs.join(", ") || "–"),
    cell("Shadows", agent.shadowed.map((one) => `${one.tier}: ${one.path}${one.problem ? ` (${one.problem})` : ""}`).join(", ") || "–"));
}

function runRow(run) {
  const open = element("button", "link", shortId(run.id));
  open.type = "button";
  open.setAttribute("aria-label", `Show run ${shortId(run.id)}`);
  open.addEventListener("click", () => showRun(run.id));
  return row(
    header(run.agent, element("span", "note", open)),
    cell("Outcome", state(run.status), note(run.cached ? "from the cache" : ""), note(run.error, "alert")),
    cell("Model", run.model),
    cell("Asked", run.answered_by ?? `${run.server}: ${run.tool}`),
    cell("Used", number(tokens(run.usage)), ...used(run.usage).map((one) => note(one))),
    cell("Took", number(milliseconds(run.duration_ms))),
    cell("Begun", time(run.created)));
}

function serverRow(server) {
  const tools = server.tools.map((tool) => {
    const made = element("li", "", element("code", "", tool.name));
    made.title = visible(tool.description);
    return made;
  });
  const identity = [server.server_name, server.version].filter(Boolean).join(" ");
  return row(
    header(server.name, note(server.reason)),
    cell("Health", state(server.status), note(server.problem, "alert")),
    cell("Is", identity || "–"),
    cell("Latency", number(milliseconds(server.latency_ms))),
    cell("Tools", tools.length ? element("ul", "tools", ...tools) : "–"));
}

// What is not as it was accepted, and what speaks to a model instead of about itself.
const toLookAt = ({ servers }) => servers.flatMap((server) => server.tools
  .filter((tool) => !tool.served || tool.changes.length || tool.marks.length)
  .map((tool) => ({ ...tool, server: server.name })));

function toolRow(tool) {
  return row(
    header(`${tool.server}: ${tool.name}`),
    cell("Served", tool.served ? state("ok", "yes") : state("down", `no: ${tool.kind}`), note(tool.reason, tool.served ? "note" : "alert")),
    cell("What changed", ...said(tool.changes)),
    cell("Marks", ...said(tool.marks)));
}

const said = (found) => (found.length ? found.map((one) => note(`${one.where}: ${one.says}`)) : ["–"]);

const OUTCOMES = { ok: "succeeded", error: "failed", blocked: "failed", unknown: "failed" };

function callRow(call) {
  return row(
    header(call.server === null ? call.name : `${call.server}: ${call.name}`, note(call.kind === "tool" ? "" : call.kind)),
    cell("Caller", call.caller),
    cell("Outcome", state(OUTCOMES[call.outcome] ?? "cancelled", call.outcome)),
    cell("Arguments", call.arguments.join(", ") || "–"),
    cell("In and out", number(`${call.bytes_in} + ${call.bytes_out} bytes`)),
    cell("Took", number(milliseconds(call.duration_ms))),
    cell("Begun", time(call.at)));
}

// [caller, how many calls, how many of them that did not succeed], the busiest first.
function callersOf(calls) {
  const found = new Map();
  for (const { caller, outcome } of calls) {
    const [all, failed] = found.get(caller) ?? [0, 0];
    found.set(caller, [all + 1, failed + (outcome === "ok" ? 0 : 1)]);
  }
  return [...found].map(([caller, counts]) => [caller, ...counts]).sort((a, b) => b[1] - a[1]);
}

function showCalls(calls) {
  byId("no-calls").hidden = calls.length > 0;
  byId("calls-part").hidden = calls.length === 0;
  showList("callers", callersOf(calls), ([caller]) => caller, ([caller, all, failed]) =>
    element("li", "", element("strong", "", caller), ` ${counted(all, "call")}${failed ? `, ${failed} without success` : ""}`));
  // Two calls may have everything in common but their place.
  const numbered = calls.map((call, place) => ({ key: `${calls.length - place} ${call.at}`, call }));
  showList("calls", numbered, ({ key }) => key, ({ call }) => callRow(call));
}

// Everything that is not as it should be, the gravest first, as [where, what].
function problems({ health, agents, runs }) {
  const services = Object.entries(health.services);
  const failed = runs.filter((run) => run.status === "failed").slice(0, SHOWN_FAILURES);
  // Without a model no agent runs: that is said once, and first.
  const noModel = health.models?.problem ?? null;
  return [
    ...(noModel ? [["models", noModel]] : []),
    ...services.filter(([, one]) => one.problem && one.status !== "ok").map(([name, one]) => [name, one.problem]),
    ...services.filter(([, one]) => one.differs).map(([name, one]) => [name, one.differs]),
    ...["limits", "cache", "sessions", "similar"]
      .filter((part) => health[part]?.problem).map((part) => [part, health[part].problem]),
    ...agents.filter((agent) => !agent.available && agent.reason !== noModel).map((agent) => [`agent ${agent.id}`, agent.reason]),
    ...failed.map((run) => [`run ${shortId(run.id)} of ${run.agent}`, run.error]),
  ];
}

function showProblems(found) {
  showList("problems", found, ([where, what]) => `${where} ${what}`,
    ([where, what]) => element("li", "", element("strong", "", where), ` ${what}`));
  byId("no-problems").hidden = found.length > 0;
}

function loadItem(name, { running, limit }) {
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: Math.max(limit, 1), value: running });
  const text = visible(`${name}: ${running} of ${limit}`);
  meter.setAttribute("aria-label", text);
  return element("li", "", text, meter);
}

function showLoad(limits) {
  setText("scope", `Counted over ${limits.scope}. ${limits.problem ?? ""}`);
  const loads = [
    ["all agents", limits.total],
    ...Object.entries(limits.models),
    ["waiting", { running: limits.queue.waiting, limit: limits.queue.limit }],
  ];
  showList("load", loads, ([name]) => name, ([name, load]) => loadItem(name, load));
}

// Replaced only when it differs, so that a choice or a reader's place in the list is not lost.
function showChoices(agents) {
  const ids = agents.filter((agent) => agent.available).map((agent) => agent.id);
  const select = byId("run-agent");
  if (ids.join() === [...select.options].map((option) => option.value).join()) return;
  const chosen = select.value;
  select.replaceChildren(...ids.map((id) => new Option(visible(id), id, false, id === chosen)));
}

let canCompare = false;

function show({ health, discovery, agents, runs }) {
  canCompare = health.similar?.problem === null;
  const all = Object.values(health.services).filter((service) => service.status !== "omitted");
  const well = all.filter((service) => service.status === "ok").length;
  byId("overall").className = health.status;
  setText("overall-text", `${health.status}: ${well} of ${all.length} services are well`);
  setText("stack", discovery.stack);
  document.title = visible(`${health.status} – PromptCraft ${discovery.stack}`);
  showProblems(problems({ health, agents, runs }));
  showList("services", Object.entries(health.services), ([name]) => name, serviceRow);
  showList("agents", agents, (agent) => agent.id, agentRow);
  showList("runs", runs, (run) => run.id, runRow);
  showLoad(health.limits);
  showChoices(agents);
  byId("at").dateTime = health.at;
  byId("at").textContent = new Date(health.at).toLocaleTimeString();
  setText("connection", "");
}

// A live region is read out whenever it is set, so it is set only to something new.
function setText(id, text) {
  const seen = visible(text);
  if (byId(id).textContent !== seen) byId(id).textContent = seen;
}

// --- Asking ---

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const authorization = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers: { ...options.headers, ...authorization } });
  if (answer.status === 401) byId("token-form").hidden = false;
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({ error: { message: `answered ${answer.status}` } }));
    throw new Error(error.message);
  }
  return answer;
}

// EventSource can't send a token, so the stream is read by hand.
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (lines.event) yield [lines.event, JSON.parse(lines.data)];
    }
  }
}

async function follow() {
  for (;;) {
    try {
      const answer = await ask("api/events", { headers: { Accept: "text/event-stream" } });
      byId("token-form").hidden = true;
      for await (const [name, data] of events(answer)) if (name === "state") show(data);
    } catch (error) {
      byId("overall").className = "down";
      setText("overall-text", "the gateway does not answer");
      setText("connection", `${error.message}; what is shown is old.`);
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

// A gateway that does not list its servers' tools answers 404, and the part stays hidden.
async function followServers() {
  for (;;) {
    try {
      const { servers } = await (await ask("api/mcp/servers")).json();
      showList("servers", servers, (server) => server.name, serverRow);
      byId("servers-section").hidden = servers.length === 0;
    } catch {
      byId("servers-section").hidden = true;
    }
    await new Promise((resolve) => setTimeout(resolve, SERVERS_MS));
  }
}

async function followCalls() {
  for (;;) {
    try {
      showCalls((await (await ask("api/mcp/calls")).json()).calls);
      byId("calls-section").hidden = false;
      const tools = toLookAt(await (await ask("api/mcp/tools")).json());
      showList("tools", tools, (tool) => `${tool.server} ${tool.name}`, toolRow);
      byId("tools-section").hidden = tools.length === 0;
    } catch {
      // The state's stream says what is wrong; what is shown stays.
    }
    await new Promise((resolve) => setTimeout(resolve, CALLS_MS));
  }
}

// --- Running an agent ---

function showOutput(text) {
  byId("run-output").hidden = false;
  byId("run-output").textContent = visible(text);
}

async function showRun(id) {
  try {
    const record = await (await ask(`api/runs/${id}`)).json();
    setText("run-state", `${record.agent}: ${record.ended ? doneText(record) : record.status}`);
    showSteps(record.steps);
    showOutput(record.output ?? record.error ?? "");
    byId("run-output").focus();
    await showSimilar(record);
  } catch (error) {
    setText("run-state", error.message);
  }
}

// Likeness is extra: a run that made nothing new is not kept in Qdrant, and without Qdrant none is.
async function showSimilar(record) {
  const asks = canCompare && record.status === "succeeded" && !record.cached;
  const found = asks ? await (await ask(`api/runs/similar?run=${record.id}`)).json() : { runs: [] };
  byId("similar-part").hidden = found.runs.length === 0;
  showList("similar", found.runs, (one) => one.id, (one) =>
    element("li", "", element("code", "", shortId(one.id)), ` ${one.agent}, ${Math.round(one.score * 100)} % alike`,
      note(one.excerpt)));
}

function showSteps(steps) {
  byId("steps-part").hidden = steps.length === 0;
  showList("steps", steps.map((step, place) => [place, step]), ([place]) => place, ([, step]) =>
    element("li", "", element("code", "", `${step.server}: ${step.tool}`), ` ${step.outcome ?? "under way"}`,
      note(step.duration_ms === null ? null : milliseconds(step.duration_ms))));
}

async function run(agent, input) {
  const answer = await ask(`api/agents/${encodeURIComponent(agent)}/runs`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ input }),
  });
  let text = "";
  let steps = [];
  for await (const [name, data] of events(answer)) {
    if (name === "queued") byId("run-cancel").value = data.id;
    if (name === "queued") byId("run-cancel").hidden = false;
    if (name === "text") showOutput((text += data.text));
    if (name === "step") showSteps((steps = withStep(steps, data)));
    // What a model says before it calls a tool is no part of its answer.
    if (name === "step") text = "";
    if (name === "output") showOutput(data.text);
    if (name === "progress") setText("run-state", data.message ?? "running");
    else if (name === "done") setText("run-state", doneText(data));
    else if (name === "queued" || name === "started") setText("run-state", name);
  }
}

// A step is told when it begins and again when it ends.
function withStep(steps, step) {
  const begun = steps.findIndex((one) =>
    one.outcome === null && one.server === step.server && one.tool === step.tool);
  return step.outcome === null || begun < 0 ? [...steps, step] : steps.with(begun, step);
}

function doneText(record) {
  const how = record.cached ? ", from the cache" : record.usage.requests ? `, ${tokens(record.usage)}` : "";
  return record.error ? `${record.status}: ${record.error}` : `${record.status} in ${record.duration_ms} ms${how}`;
}

byId("run-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("run-start").disabled = true;
  byId("run-output").hidden = true;
  byId("similar-part").hidden = true;
  byId("steps-part").hidden = true;
  setText("run-state", "asking…");
  try {
    await run(byId("run-agent").value, byId("run-input").value);
  } catch (error) {
    setText("run-state", error.message);
  }
  byId("run-start").disabled = false;
  byId("run-cancel").hidden = true;
});

byId("run-cancel").addEventListener("click", async () => {
  try {
    await ask(`api/runs/${byId("run-cancel").value}/cancel`, { method: "POST" });
  } catch (error) {
    setText("run-state", error.message);
  }
});

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, byId("token").value);
  byId("token").value = "";
  byId("token-form").hidden = true;
});

follow();
followServers();
followCalls();
