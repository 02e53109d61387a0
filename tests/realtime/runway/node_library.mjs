// Run by test_node_sdk.py: the official SDK of Node over everything that is kept, routed or composed. Standard input is
// {base, image, audio, video}; standard output is {route: true, or what went wrong}, as JSON.
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/package.json`);
const RunwayML = require("@runwayml/sdk").default;
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const client = new RunwayML({ apiKey: "key", baseURL: given.base, maxRetries: 0 });
const found = {};
const image = { uri: given.image };
const day = 86_400_000;
const span = [new Date(Date.now() - day).toISOString(), new Date(Date.now() + day).toISOString()];

// `members` are name -> type, as typeof says it; "list" for arrays
async function tried(route, call, members = {}) {
  try {
    const value = await call();
    const wrong = Object.entries(members).filter(([name, type]) => {
      const is = Array.isArray(value?.[name]) ? "list" : typeof value?.[name];
      return is !== type;
    });
    found[route] = wrong.length === 0 || `members ${wrong.map(([name]) => name)} of ${JSON.stringify(value)}`;
    return value ?? {};
  } catch (error) {
    found[route] = `${error.constructor.name}: ${error.error?.error ?? error.message}`;
    return {};
  }
}

async function all(pages) {
  const rows = [];
  for await (const row of pages) rows.push(row);
  return { rows, count: rows.length };
}

const kept = { id: "string", name: "string", createdAt: "string" };
const settled = async (fetch, id) => {
  for (let tries = 0; tries < 100; tries += 1) {
    const value = await fetch(id);
    if (value.status !== "PROCESSING") return value;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error("it did not settle");
};

async function documents() {
  const made = [];
  for (const name of ["a", "b", "c"]) {
    made.push(await tried("POST /v1/documents", () => client.documents.create({ name, content: "words" }), kept));
  }
  const { id } = made[0];
  await tried("GET /v1/documents", async () => {
    const { rows } = await all(client.documents.list({ limit: 2, sort: "createdAt", order: "asc" }));
    if (rows.length !== 3) throw new Error(`${rows.length} rows`);
  });
  await tried("PATCH /v1/documents/{id}", () => client.documents.update(id, { name: "d" }));
  await tried("GET /v1/documents/{id}", () => client.documents.retrieve(id), { ...kept, content: "string" });
  await tried("DELETE /v1/documents/{id}", () => client.documents.delete(id));
}

async function people() {
  const from = { type: "audio", audio: given.audio };
  const voice = await tried("POST /v1/voices", () => client.voices.create({ name: "Deep", from }), { id: "string" });
  await tried("GET /v1/voices/{id}", () => settled((id) => client.voices.retrieve(id), voice.id), kept);
  await tried("PATCH /v1/voices/{id}", () => client.voices.update(voice.id, { description: null }), kept);
  await tried("GET /v1/voices", () => all(client.voices.list({ limit: 1 })), { rows: "list" });
  const heard = { prompt: "A calm voice of an old sailor", model: "eleven_ttv_v3" };
  const preview = { url: "string", durationSecs: "number" };
  await tried("POST /v1/voices/preview", () => client.voices.preview(heard), preview);
  await tried("DELETE /v1/voices/{id}", () => client.voices.delete(voice.id));
  const speaker = { type: "runway-live-preset", presetId: "maya" };
  const ada = { name: "Ada", personality: "Kind.", referenceImage: given.image, voice: speaker };
  const avatar = await tried("POST /v1/avatars", () => client.avatars.create(ada), kept);
  await tried("GET /v1/avatars/{id}", () => settled((id) => client.avatars.retrieve(id), avatar.id), kept);
  await tried("PATCH /v1/avatars/{id}", () => client.avatars.update(avatar.id, { startScript: null }), kept);
  await tried("GET /v1/avatars", () => all(client.avatars.list({ limit: 1 })), { rows: "list" });
  const usage = { startDate: span[0], endDate: span[1] };
  await tried("GET /v1/avatar_usage", () => client.avatars.getUsage(usage), { totalSessions: "number", byDay: "list" });
  await tried("DELETE /v1/avatars/{id}", () => client.avatars.delete(avatar.id));
}

async function talks() {
  const avatar = { type: "runway-preset", presetId: "influencer" };
  const make = () => client.realtimeSessions.create({ model: "gwm1_avatars", avatar, maxDuration: 600 });
  const { id } = await tried("POST /v1/realtime_sessions", make, { id: "string" });
  const state = { id: "string", createdAt: "string", status: "string" };
  await tried("GET /v1/realtime_sessions/{id}", () => client.realtimeSessions.retrieve(id), state);
  await tried("DELETE /v1/realtime_sessions/{id}", () => client.realtimeSessions.delete(id));
  await tried("GET /v1/avatar_conversations", () => all(client.avatarConversations.list({ limit: 5 })), { rows: "list" });
  await tried("GET /v1/avatar_conversations/{id}", () => client.avatarConversations.retrieve(id), state);
  await tried("DELETE /v1/avatar_conversations/{id}", () => client.avatarConversations.delete(id));
}

async function routed() {
  const settings = { schemaVersion: 1, optimizeFor: "cost" };
  const made = await tried("POST /v1/routers", () => client.routers.create({ slug: "films", settings }), kept);
  await tried("PATCH /v1/routers/{id}", () => client.routers.update(made.id, { name: "Films" }), kept);
  await tried("GET /v1/routers/{id}", () => client.routers.retrieve(made.id), kept);
  await tried("GET /v1/routers", () => all(client.routers.list({ limit: 1 })), { rows: "list" });
  const reply = { id: "string", routing: "object" };
  const configId = "films";
  const inputs = {
    video: { promptText: "A lake", duration: 4 },
    image: { promptText: "A lake" },
    audio: { type: "speech", promptText: "Hello." },
  };
  for (const [kind, input] of Object.entries(inputs)) {
    await tried(`POST /v1/generate/${kind}`, () => client.generate[kind].create({ configId, input }), reply);
  }
  const log = () => all(client.routers.listRequests(made.id, { limit: 2 }));
  await tried("GET /v1/routers/{id}/requests", log, { rows: "list" });
  await tried("DELETE /v1/routers/{id}", () => client.routers.delete(made.id));
}

async function composed() {
  const recipes = {
    adLocalization: { referenceImage: image, targetLanguage: "de" },
    marketingStockImage: { prompt: "A desk" },
    multiShotVideo: { mode: "auto", prompt: "A walk by the sea" },
    productAd: { productImages: [image] },
    productCampaignImage: { image, prompt: "On a beach" },
    productSwap: {
      referenceVideo: { uri: given.video },
      originalProductImage: image,
      newProductImages: [{ ...image, view: "front" }],
    },
    productUgc: { characterImage: image, productImage: image },
  };
  for (const [name, body] of Object.entries(recipes)) {
    const route = `POST /v1/recipes/${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
    await tried(route, () => client.recipes[name]({ version: "2026-06", ...body }), { id: "string" });
  }
  const listed = await tried("GET /v1/workflows", () => client.workflows.list(), { data: "list" });
  const { id } = listed.data[0].versions[0];
  await tried("GET /v1/workflows/{id}", () => client.workflows.retrieve(id), { graph: "object", name: "string" });
  const run = await tried("POST /v1/workflows/{id}", () => client.workflows.run(id), { id: "string" });
  const done = () => client.workflowInvocations.retrieve(run.id).waitForTaskOutput();
  await tried("GET /v1/workflow_invocations/{id}", done, { id: "string", status: "string", output: "object" });
}

async function organization() {
  const [from, to] = span;
  await tried("GET /v1/organization", () => client.organization.retrieve(), { creditBalance: "number", tier: "object" });
  await tried("POST /v1/organization/usage", () => client.organization.retrieveUsage(), { results: "list" });
  const { listUsage, auditLogs } = client.organization.webapp;
  const used = () => all(listUsage.call(client.organization.webapp, { from, to, limit: 5 }));
  await tried("GET /v1/organization/webapp/usage", used, { rows: "list" });
  const logs = await tried("GET /v1/organization/webapp/audit_logs", async () => {
    const { data } = await auditLogs.list({ limit: 5 });
    return { data, first: data[0].eventId };
  }, { data: "list", first: "string" });
  const event = { eventId: "string", action: "string", metadata: "object" };
  await tried("GET /v1/organization/webapp/audit_logs/{id}", () => auditLogs.retrieve(logs.first), event);
}

for (const part of [documents, people, talks, routed, composed, organization]) await part();
console.log(JSON.stringify(found));
