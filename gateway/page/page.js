"use strict";
// Everything shown comes from the API of this same port; text is set as text, never as markup.

const EVERY_MS = 5000;
const byId = (id) => document.getElementById(id);

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

const state = (status) => element("span", `state ${status}`, element("span", "dot"), status);
const note = (text, className = "note") => (text ? element("span", className, text) : null);

function serviceRow([name, service]) {
  return element("tr", "",
    header(name, note(service.stand_in ? "stand-in" : "")),
    cell("Health", state(service.status), note(service.problem, service.status === "ok" ? "note" : "alert")),
    cell("Source", service.source ?? "–", note(service.action)),
    cell("Endpoint", element("code", "", service.endpoint ?? "–")),
    cell("Version", element("span", "number", service.version ?? "–")),
    cell("Latency", element("span", "number", service.latency_ms === null ? "–" : `${service.latency_ms} ms`)),
    cell("Why", service.reason || "–", note(service.stand_in), note(service.differs, "alert")));
}

function agentRow(agent) {
  const needs = Object.entries(agent.dependencies).map(([name, need]) => (need.met ? name : `${name} (missing)`));
  return element("tr", "",
    header(agent.id, note(agent.description)),
    cell("Available", state(agent.available ? "ok" : "down"), note(agent.reason, "alert")),
    cell("From", agent.tier, element("code", "note", agent.path)),
    cell("Model", agent.model ?? "–"),
    cell("Needs", needs.join(", ") || "–"),
    cell("Shadows", agent.shadowed.map((one) => `${one.tier}: ${one.path}`).join(", ") || "–"));
}

function show(health, discovery, agents) {
  const all = Object.values(health.services).filter((service) => service.status !== "omitted");
  const well = all.filter((service) => service.status === "ok").length;
  byId("overall").className = health.status;
  byId("overall-text").textContent = `${health.status}: ${well} of ${all.length} services are well`;
  byId("stack").textContent = discovery.stack;
  document.title = `${health.status} – PromptCraft ${discovery.stack}`;
  byId("services").replaceChildren(...Object.entries(health.services).map(serviceRow));
  byId("agents").replaceChildren(...agents.agents.map(agentRow));
  byId("at").dateTime = health.at;
  byId("at").textContent = new Date(health.at).toLocaleTimeString();
  byId("connection").textContent = "";
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    show(...(await Promise.all(["api/health/detailed", "api/discovery/status", "api/agents/available"].map(ask))));
  } catch (error) {
    byId("overall").className = "down";
    byId("overall-text").textContent = "the gateway does not answer";
    byId("connection").textContent = `${error.message}; what is shown is old.`;
  }
}

async function run() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

run();
