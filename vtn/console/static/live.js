// Live updates. An element with an id and data-live="topic topic" is brought up to date when one of
// these topics changes: the page is fetched again, and what differs is put in place. Elements with
// data-keep are left alone. Topics: see GET /live.
const LEAST_MS = 1000;
const connection = document.getElementById("connection");
const listeners = new Set();
let pending = false;
let last = 0;
let due = new Set();

export function onChange(topics, act) {
  listeners.add({ topics: new Set(topics), act });
}

function say(state, word) {
  if (!connection) return;
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  connection.querySelector("[data-word]").textContent = word;
}

function topicsOf(element) {
  return (element.dataset.live || "").split(" ").filter(Boolean);
}

const typed = () =>
  [...document.querySelectorAll("main form[method=post] :is(input, textarea)")].some(
    (one) => one.value !== one.defaultValue,
  );

async function refresh(after) {
  const topics = due;
  due = new Set();
  last = Date.now();
  try {
    await bring(topics, after);
  } catch (fault) {
    for (const one of topics) due.add(one); // not reached: asked for again when it is
    throw fault;
  }
}

async function bring(topics, after) {
  const everything = topics.has("*");
  const wanted = [...document.querySelectorAll("[data-live][id]")].filter(
    (one) => everything || topicsOf(one).some((topic) => topics.has(topic)),
  );
  for (const one of listeners) {
    if (everything || [...one.topics].some((topic) => topics.has(topic))) one.act();
  }
  if (!wanted.length) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") {
    // The session has ended: the log-in comes, unless something typed would be lost by that.
    if (typed()) say("lost", "Logged out: log in in another tab");
    else location.reload();
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const one of wanted) {
    const other = fresh.getElementById(one.id);
    if (other) morph(one, other);
  }
  document.body.toggleAttribute("data-again", fresh.body.hasAttribute("data-again"));
  after();
  again(after);
}

// One refresh at a time, at most one a second; what comes meanwhile is in the next one.
function soon(topics, after) {
  for (const one of topics) due.add(one);
  if (pending) return;
  pending = true;
  const wait = Math.max(0, last + LEAST_MS - Date.now());
  setTimeout(async () => {
    let reached = true;
    try {
      await refresh(after);
    } catch {
      reached = false;
      say("lost", "Not reached");
    }
    pending = false;
    if (reached && due.size) soon([], after);
  }, wait);
}

// A page that waits for what is being worked out, or may lack what was just done, looks again.
function again(after) {
  if (document.querySelector("[data-again]")) setTimeout(() => soon(["*"], after), LEAST_MS);
}

const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key : "");

// Make `old` like `fresh`, touching only what differs: scroll, selection and focus stay.
export function morph(old, fresh) {
  if (old.dataset && "keep" in old.dataset) return;
  if (old.dataset && fresh.dataset) {
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open" && name !== "title") old.removeAttribute(name);
    }
  }
  const byKey = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next);
    let match = key ? byKey.get(key) : at && !keyOf(at) && at.nodeName === next.nodeName ? at : null;
    if (match && match.nodeName === next.nodeName) {
      if (match !== at) old.insertBefore(match, at);
      else at = at.nextSibling;
      if (next.nodeType === 1) morph(match, next);
      else if (match.nodeValue !== next.nodeValue) match.nodeValue = next.nodeValue;
    } else {
      old.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

export function follow(after) {
  const topics = new Set();
  for (const one of document.querySelectorAll("[data-live][id]")) {
    for (const topic of topicsOf(one)) topics.add(topic);
  }
  for (const one of document.querySelectorAll("[data-chart-live]")) {
    for (const topic of one.dataset.chartLive.split(" ").filter(Boolean)) topics.add(topic);
  }
  for (const one of listeners) for (const topic of one.topics) topics.add(topic);
  again(after);
  if (!topics.size) return;
  const query = new URLSearchParams([...topics].map((topic) => ["topic", topic]));
  let lost = false;
  const source = new EventSource(`/live?${query}`);
  const live = () => {
    say("live", "Live");
    if (lost) soon(["*"], after);
    lost = false;
  };
  source.addEventListener("open", live);
  source.addEventListener("hello", live);
  source.addEventListener("change", (event) => soon(JSON.parse(event.data).topics, after));
  source.addEventListener("reset", () => soon(["*"], after));
  source.addEventListener("error", () => {
    lost = true;
    say("lost", source.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Reconnecting");
  });
  addEventListener("pagehide", () => source.close());
}
