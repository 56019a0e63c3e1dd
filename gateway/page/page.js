"use strict";
// Everything shown comes from the API of this same port; text is set as text, never as markup.

const RECONNECT_MS = 2000;
const TOKEN_KEY = "promptcraft-token";
const byId = (id) => document.getElementById(id);

// --- Making elements ---

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function cell(name, ...children) {
  const made = element("td", "", ...children);
  made.dataset.name = name;
  return made;
}

function header(...children) {
  const made = element("th", "", ...children);
  made.scope = "row";
  return made;
}

const state = (status, text = status) => element("span", `state ${status}`, element("span", "dot"), text);
const note = (text, className = "note") => (text ? element("span", className, text) : null);
const number = (text) => element("span", "number", text);
const milliseconds = (value) => (value === null ? "–" : `${value} ms`);

// --- Showing a state ---

function serviceRow([name, service]) {
  return element("tr", "",
    header(name, note(service.stand_in ? "stand-in" : "")),
    cell("Health", state(service.status), note(service.problem, service.status === "ok" ? "note" : "alert")),
    cell("Source", service.source ?? "–", note(service.action)),
    cell("Endpoint", element("code", "", service.endpoint ?? "–")),
    cell("Version", number(service.version ?? "–")),
    cell("Latency", number(milliseconds(service.latency_ms))),
    cell("Why", service.reason || "–", note(service.stand_in), note(service.differs, "alert")));
}

function agentRow(agent) {
  const needs = Object.entries(agent.dependencies).map(([name, need]) => (need.met ? name : `${name} (missing)`));
  return element("tr", "",
    header(agent.id, note(agent.description)),
    cell("Available", agent.available ? state("ok", "yes") : state("down", "no"), note(agent.reason, "alert")),
    cell("From", agent.tier ?? "–", element("code", "note", agent.path ?? "")),
    cell("Model", agent.model ?? "–"),
    cell("Needs", needs.join(", ") || "–"),
    cell("Shadows", agent.shadowed.map((one) => `${one.tier}: ${one.path}`).join(", ") || "–"));
}

function runRow(run) {
  return element("tr", "",
    header(run.agent, element("code", "note", run.id.slice(0, 8))),
    cell("Outcome", state(run.status), note(run.cached ? "from the cache" : ""), note(run.error, "alert")),
    cell("Model", run.model),
    cell("Asked", `${run.server}: ${run.tool}`),
    cell("Took", number(milliseconds(run.duration_ms))),
    cell("Begun", number(new Date(run.created).toLocaleTimeString())));
}

function loadItem(name, { running, limit }) {
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: Math.max(limit, 1), value: running });
  const text = `${name}: ${running} of ${limit}`;
  meter.setAttribute("aria-label", text);
  return element("li", "", text, meter);
}

function showLoad(limits) {
  byId("scope").textContent = `Counted over ${limits.scope}. ${limits.problem ?? ""}`;
  byId("load").replaceChildren(
    loadItem("all agents", limits.total),
    ...Object.entries(limits.models).map(([model, load]) => loadItem(model, load)),
    loadItem("waiting", { running: limits.queue.waiting, limit: limits.queue.limit }));
}

// Replaced only when it differs, so that a choice or a reader's place in the list is not lost.
function showChoices(agents) {
  const ids = agents.filter((agent) => agent.available).map((agent) => agent.id);
  const select = byId("run-agent");
  if (ids.join() === [...select.options].map((option) => option.value).join()) return;
  const chosen = select.value;
  select.replaceChildren(...ids.map((id) => new Option(id, id, false, id === chosen)));
}

function show({ health, discovery, agents, runs }) {
  const all = Object.values(health.services).filter((service) => service.status !== "omitted");
  const well = all.filter((service) => service.status === "ok").length;
  byId("overall").className = health.status;
  setText("overall-text", `${health.status}: ${well} of ${all.length} services are well`);
  setText("stack", discovery.stack);
  document.title = `${health.status} – PromptCraft ${discovery.stack}`;
  byId("services").replaceChildren(...Object.entries(health.services).map(serviceRow));
  byId("agents").replaceChildren(...agents.map(agentRow));
  byId("runs").replaceChildren(...runs.map(runRow));
  showLoad(health.limits);
  showChoices(agents);
  byId("at").dateTime = health.at;
  byId("at").textContent = new Date(health.at).toLocaleTimeString();
  setText("connection", "");
}

// A live region is read out whenever it is set, so it is set only to something new.
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
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

// --- Running an agent ---

function showOutput(text) {
  byId("run-output").hidden = false;
  byId("run-output").textContent = text;
}

async function run(agent, input) {
  const answer = await ask(`api/agents/${encodeURIComponent(agent)}/runs`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ input }),
  });
  for await (const [name, data] of events(answer)) {
    if (name === "queued") byId("run-cancel").value = data.id;
    if (name === "queued") byId("run-cancel").hidden = false;
    if (name === "output") showOutput(data.text);
    if (name === "progress") setText("run-state", data.message ?? "running");
    else if (name === "done") setText("run-state", doneText(data));
    else if (name !== "output") setText("run-state", name);
  }
}

function doneText(record) {
  const how = record.cached ? ", from the cache" : "";
  return record.error ? `${record.status}: ${record.error}` : `${record.status} in ${record.duration_ms} ms${how}`;
}

byId("run-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("run-start").disabled = true;
  byId("run-output").hidden = true;
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
