// Run by test_node_sdk.py: the official SDK of Node against a server. Standard input is {base, calls: [[endpoint, body]],
// files: {kind: path}}; standard output is what came of each call, as JSON.
import fs from "node:fs";
import { createRequire } from "node:module";

const root = process.argv[2];
const require = createRequire(`${root}/package.json`);
const RunwayML = require("@runwayml/sdk").default;
const { TaskFailedError, TaskTimedOutError } = require("@runwayml/sdk");
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const client = new RunwayML({ apiKey: "key", baseURL: given.base, maxRetries: 0 });
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
// light work, which never waits for films
const sound = (promptText) => client.soundEffect.create({ model: "eleven_text_to_sound_v2", promptText });
const clip = (promptText) =>
  client.textToVideo.create({ model: "gen4.5", ratio: "1280:720", duration: 2, promptText });

async function outcome(call) {
  try {
    return { value: await call() };
  } catch (error) {
    return { thrown: error.constructor.name, status: error.status, body: error.error, task: error.taskDetails };
  }
}

async function ended(id) {
  for (;;) {
    const task = await client.tasks.retrieve(id);
    if (!["PENDING", "THROTTLED", "RUNNING"].includes(task.status)) return task;
    await sleep(100);
  }
}

async function late() {
  const created = await clip("it stays");
  const found = await outcome(() => client.tasks.retrieve(created.id).waitForTaskOutput({ timeout: 4000 }));
  await client.tasks.delete(created.id);
  return found;
}

async function waits() {
  const cancelled = async () => {
    const { id } = await clip("it stays too");
    const waiting = outcome(() => client.tasks.retrieve(id).waitForTaskOutput());
    await sleep(300);
    await client.tasks.delete(id);
    return waiting;
  };
  const [succeeds, fails, tooLate, gone] = await Promise.all([
    outcome(() => sound("x").waitForTaskOutput()),
    outcome(() => sound("it fails").waitForTaskOutput()),
    late(),
    cancelled(),
  ]);
  const file = await fetch(succeeds.value.output[0], { redirect: "error" });
  return { succeeds, fails, late: tooLate, gone, downloaded: (await file.arrayBuffer()).byteLength };
}

async function uploads() {
  const image = await client.uploads.createEphemeral({ file: fs.createReadStream(given.files.image) });
  const film = await client.uploads.createEphemeral({ file: fs.createReadStream(given.files.video), fileMetadata: "{}" });
  const made = [];
  for (let time = 0; time < 2; time += 1) {
    made.push((await client.imageToVideo.create({ model: "gen4_turbo", promptImage: image.uri, ratio: "960:960" })).id);
  }
  made.push((await client.videoToVideo.create({ model: "aleph2", videoUri: film.uri, promptText: "Night" })).id);
  return (await Promise.all(made.map(ended))).map((task) => task.status);
}

const calls = [];
for (const [endpoint, body] of given.calls) {
  const resource = client[camel(endpoint)];
  const send = resource ? () => resource.create(body) : () => client.post(`/v1/${endpoint}`, { body });
  calls.push({ endpoint, model: body.model, ...(await outcome(send)) });
}
const tasks = await Promise.all(calls.filter((call) => call.value).map((call) => ended(call.value.id)));
const result = {
  calls,
  tasks,
  waits: await waits(),
  uploads: await uploads(),
  errors: {
    bad: await outcome(() => client.textToVideo.create({ model: "gen4.5", ratio: "1:1", duration: 2, promptText: "x" })),
    unknown: await outcome(() => client.tasks.retrieve("00000000-0000-4000-8000-00000000dead")),
  },
  classes: [TaskFailedError.name, TaskTimedOutError.name],
};
console.log(JSON.stringify(result));
