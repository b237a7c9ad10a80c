// The example's page: a heartbeat, and buttons that try to stop it.

const PING_EVERY = 100; // milliseconds
const STATS_EVERY = 500;
const IN_VIEW = 20_000; // of the chart
const SILENCE = 300; // a ping that waits longer means that nobody is served
const CLIENTS = 4;
const ROUNDS = 3; // that each client makes

const byId = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const darkColours = matchMedia("(prefers-color-scheme: dark)");

function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// A browser opens six connections to a host at most. The pings have one, the stats
// have one, and these share the others: no ping ever waits for a connection.
const slots = {
  free: 4,
  waiting: [],
  async take() {
    if (this.free === 0) await new Promise((granted) => this.waiting.push(granted));
    else this.free--;
  },
  giveBack() {
    const next = this.waiting.shift();
    if (next) next();
    else this.free++;
  },
};

async function get(path) {
  await slots.take();
  const begun = performance.now();
  try {
    const response = await fetch(path, { cache: "no-store" });
    const answer = await response.json();
    return { status: response.status, answer, took: performance.now() - begun };
  } finally {
    slots.giveBack();
  }
}

// The heartbeat

const beats = []; // {sent, took}; took is undefined while the answer is missing
let answered = 0;

async function beat() {
  for (;;) {
    const ping = { sent: performance.now(), took: undefined };
    beats.push(ping);
    try {
      const response = await fetch("/ping", { cache: "no-store" });
      await response.text();
      ping.took = performance.now() - ping.sent;
      answered++;
    } catch {
      beats.splice(beats.indexOf(ping), 1); // there is no server: wait for the next one
      await pause(1000);
    }
    showFigures();
    await pause(Math.max(0, PING_EVERY - (ping.took ?? 0)));
  }
}

function slowestSince(begun) {
  const now = performance.now();
  const waits = beats
    .filter((ping) => ping.sent + (ping.took ?? now - ping.sent) >= begun)
    .map((ping) => ping.took ?? now - ping.sent);
  return Math.max(0, ...waits);
}

function showFigures() {
  const now = performance.now();
  while (beats.length && beats[0].sent + (beats[0].took ?? Infinity) < now - 3 * IN_VIEW) beats.shift();
  const last = beats.findLast((ping) => ping.took !== undefined);
  byId("last").textContent = last ? duration(last.took) : "–";
  byId("slowest").textContent = duration(slowestSince(now - IN_VIEW));
  byId("beats").textContent = answered;
}

// The chart

const chart = byId("chart");
const MARKS = [1, 10, 100, 1000, 10_000]; // milliseconds; the scale is logarithmic
let colours;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["beat", "silence", "silence-ground", "line", "quiet"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

function fitChart() {
  const scale = devicePixelRatio || 1;
  chart.width = chart.clientWidth * scale;
  chart.height = chart.clientHeight * scale;
}

function draw() {
  const scale = devicePixelRatio || 1;
  const context = chart.getContext("2d");
  const left = 58, top = 8;
  const width = chart.clientWidth - left, height = chart.clientHeight - top - 6;
  const now = performance.now();
  const x = (time) => left + width * (1 - (now - time) / IN_VIEW);
  const share = (took) => Math.min(1, Math.log10(Math.max(took, 1)) / 4);
  const y = (took) => top + height * (1 - share(took));

  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, chart.clientWidth, chart.clientHeight);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const mark of MARKS) {
    context.fillStyle = colours.line;
    context.fillRect(left, y(mark), width, 1);
    context.fillStyle = colours.quiet;
    context.fillText(mark < 1000 ? `${mark} ms` : `${mark / 1000} s`, left - 8, y(mark));
  }
  context.save();
  context.beginPath();
  context.rect(left, 0, width, chart.clientHeight);
  context.clip();
  for (const { sent, took } of beats) {
    const wait = took ?? now - sent;
    if (wait > SILENCE) {
      context.fillStyle = colours["silence-ground"];
      context.fillRect(x(sent), top, x(sent + wait) - x(sent), height);
    }
  }
  const barWidth = Math.max(2, (width * PING_EVERY) / IN_VIEW - 2);
  for (const { sent, took } of beats) {
    const wait = took ?? now - sent;
    const barTop = Math.min(y(wait), y(1) - 2);
    context.fillStyle = wait > SILENCE ? colours.silence : colours.beat;
    context.beginPath();
    context.roundRect(x(sent), barTop, barWidth, y(1) - barTop, [2, 2, 0, 0]);
    context.fill();
    if (wait > SILENCE) {
      context.textAlign = "left";
      context.fillText(duration(wait), x(sent) + barWidth + 4, Math.max(y(wait), top + 8));
    }
  }
  context.restore();
}

async function drawForEver() {
  for (;;) {
    draw();
    if (reducedMotion.matches) await pause(1000);
    else await new Promise(requestAnimationFrame);
  }
}

// The children

const COUNTS = ["queued", "completed", "failed", "timed_out", "died", "cancelled", "refused", "replaced"];

function cell(text, className = "") {
  const td = document.createElement("td");
  td.textContent = text;
  td.className = className;
  return td;
}

function showStats(stats) {
  const rows = stats.children.map((child) => {
    const row = document.createElement("tr");
    const runs = child.function ? `${child.function} for ${duration(child.seconds * 1000)}` : "";
    row.append(
      cell(child.pid),
      cell(child.state, `state ${child.state}`),
      cell(runs),
      cell(child.tasks, "number"),
      cell(`${(child.resident_memory / 2 ** 20).toFixed(0)} MB`, "number"),
    );
    return row;
  });
  for (let i = stats.children.length; i < stats.max_workers; i++) {
    const row = document.createElement("tr");
    row.append(cell("–"), cell(i < stats.children.length + stats.starting ? "starting" : "none yet", "state"));
    row.append(cell(""), cell("", "number"), cell("", "number"));
    rows.push(row);
  }
  byId("children").replaceChildren(...rows);
  byId("counts").replaceChildren(
    ...COUNTS.map((name) => {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = name.replace("_", " ");
      value.textContent = stats[name];
      value.id = `count-${name}`;
      pair.append(term, value);
      return pair;
    }),
  );
}

async function watchStats() {
  for (;;) {
    try {
      const response = await fetch("/stats", { cache: "no-store" });
      showStats(await response.json());
    } catch {
      // There is no server, or not yet again.
    }
    await pause(STATS_EVERY);
  }
}

// The buttons

function show(id, kind, headline, details = "") {
  const place = byId(id);
  const strong = document.createElement("strong");
  strong.textContent = headline;
  place.className = `outcome ${kind}`;
  place.replaceChildren(strong, " ", details);
}

function onClick(id, action) {
  const button = byId(id);
  button.addEventListener("click", async () => {
    // Not disabled: that would take the focus away from the keyboard.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await action(button.dataset.path);
    } catch (error) {
      show(`${id}-outcome`, "bad", "No answer.", String(error));
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

async function workFor(id, path) {
  show(`${id}-outcome`, "", "Running …");
  const begun = performance.now(), answeredBefore = answered;
  const client = async () => {
    const results = [];
    for (let i = 0; i < ROUNDS; i++) results.push(await get(path));
    return results;
  };
  const results = (await Promise.all(Array.from({ length: CLIENTS }, client))).flat();
  const took = performance.now() - begun;
  const served = results.filter((result) => result.status === 200);
  const counts = new Set(served.map((result) => result.answer.count));
  const pids = new Set(served.map((result) => result.answer.pid));
  const slowest = slowestSince(begun);
  const refused = results.length - served.length;
  show(
    `${id}-outcome`,
    slowest > SILENCE ? "bad" : "good",
    `${answered - answeredBefore} pings answered meanwhile, the slowest after ${duration(slowest)}.`,
    `${served.length} answers in ${duration(took)}: ${[...counts].join(", ") || "none"}, ` +
      `from process ${[...pids].join(", ") || "none"}.` +
      (refused ? ` ${refused} were refused.` : ""),
  );
}

async function troubleFor(id, path) {
  show(`${id}-outcome`, "", "Running …");
  const { status, answer, took } = await get(path);
  const details = `${answer.message ?? JSON.stringify(answer)} (after ${duration(took)})`;
  show(`${id}-outcome`, "bad", `${status} ${answer.error ?? ""}`, details);
}

async function streamFor(id, path) {
  const progress = byId("progress"), stop = byId("stop"), wanted = byId("blocks");
  if (!wanted.reportValidity()) return;
  progress.value = 0;
  show(`${id}-outcome`, "", "Waiting for the first block …");
  await slots.take();
  const events = new EventSource(path + wanted.value);
  stop.disabled = false;
  let last = "Nothing was found yet.";
  const [kind, headline] = await new Promise((end) => {
    events.onmessage = ({ data }) => {
      const { done, blocks, below, count } = JSON.parse(data);
      progress.max = blocks;
      progress.value = done;
      last = `${count.toLocaleString("en")} primes below ${below.toLocaleString("en")}.`;
      byId(`${id}-outcome`).textContent = `${done} of ${blocks}: ${last}`;
    };
    events.addEventListener("end", () => end(["good", "Done."]));
    events.addEventListener("failure", ({ data }) => {
      const { error, message } = JSON.parse(data);
      end(["bad", `${error}: ${message}`]);
    });
    events.onerror = () => end(["bad", "The server refused, or went away."]);
    stop.onclick = () => end(["", "Stopped."]);
  });
  events.close();
  if (document.activeElement === stop) byId(id).focus();
  stop.disabled = true;
  slots.giveBack();
  show(`${id}-outcome`, kind, headline, last);
}

onClick("inline", (path) => workFor("inline", path));
onClick("offload", (path) => workFor("offload", path));
onClick("stream", (path) => streamFor("stream", path));
onClick("deadline", (path) => troubleFor("deadline", path));
onClick("crash", (path) => troubleFor("crash", path));

for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
readColours();
fitChart();
darkColours.addEventListener("change", readColours);
addEventListener("resize", fitChart);
beat();
watchStats();
drawForEver();
