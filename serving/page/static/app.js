// The page's script: turns what a listener does into events, posts them, and swaps the next answer in.
// No dependency, no build step. Everything shown comes escaped from the server or goes in as text.

const SPEED = 30; // seconds of a track per second here; there is no sound
const SETTLE_MS = 500; // an acknowledged event is in the listener's state within this time, mostly
const body = document.body;
const byId = (id) => document.getElementById(id);

// --- who listens -----------------------------------------------------------------------------------------

function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let ms = Date.now();
  for (let i = 5; i >= 0; i--) { bytes[i] = ms % 256; ms = Math.floor(ms / 256); }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// A new listener keeps the id that the first answer gave them: it goes into the address, for the next reload.
function keepListener() {
  const params = new URLSearchParams(location.search);
  if (params.has("user_id")) return;
  params.delete("as");
  params.set("user_id", body.dataset.user);
  history.replaceState(null, "", `${location.pathname}?${params}`);
}

function session() {
  if (!sessionStorage.getItem("session")) sessionStorage.setItem("session", uuid7());
  return sessionStorage.getItem("session");
}

// --- events ----------------------------------------------------------------------------------------------

function event(kind, track, more = {}) {
  return {
    event_id: uuid7(), kind, user_id: body.dataset.user, session_id: session(), ts: new Date().toISOString(),
    tz: Intl.DateTimeFormat().resolvedOptions().timeZone, platform: "recsys page",
    request_id: track.request, track_id: track.track, surface: track.surface,
    incognito_mode: new URLSearchParams(location.search).get("incognito") === "true", ...more,
  };
}

// A batch is retried with the same event ids, so that a lost answer cannot log anything twice.
async function post(events, attempts = 4) {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch("/v1/events", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ events }),
      });
      const answer = await response.json();
      if (response.ok) return answer;
      if (response.status === 401) throw new Error("this page's permission has ended; reload it");
      if (response.status !== 503 || attempt === attempts) throw new Error(answer.detail);
    } catch (error) {
      if (attempt === attempts || !(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
  }
}

let quietTimer = 0;
function say(text) {
  byId("status").textContent = text;
  clearTimeout(quietTimer);
  quietTimer = setTimeout(() => { byId("status").textContent = ""; }, 6000);
}

async function log(events, done, changes = true) {
  try {
    const answer = await post(events);
    say(answer.refused.length ? `Refused: ${answer.refused[0].reason}` : done);
    if (changes) refreshSoon();
  } catch (error) {
    say(`Not logged: ${error.message}`);
  }
}

// --- the answer ------------------------------------------------------------------------------------------

const tracksShown = () => Array.from(document.querySelectorAll("#answer .track"));

let refreshTimer = 0;
function refreshSoon() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, SETTLE_MS);
}

async function refresh() {
  const params = new URLSearchParams(location.search);
  if (body.dataset.seed) {
    params.set("seed", body.dataset.seed);
    params.set("cursor", byId("answer").dataset.cursor);
  }
  const response = await fetch(`${body.dataset.refresh}?${params}`);
  if (!response.ok) return say("The next answer did not come; try again.");
  const known = new Set(tracksShown().map((node) => node.dataset.track));
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  const rows = scrollPositions();
  byId("answer").replaceWith(parsed.getElementById("answer"));
  restoreScroll(rows);
  const fresh = tracksShown().filter((node) => !known.has(node.dataset.track));
  fresh.forEach((node) => node.classList.add("is-new"));
  prepare();
  say(fresh.length ? `The answer changed: ${fresh.length} of ${tracksShown().length} tracks are new.` : "The next answer has the same tracks.");
}

function scrollPositions() {
  return new Map(Array.from(document.querySelectorAll(".row"), (row) => [row.getAttribute("aria-label"), row.scrollLeft]));
}

function restoreScroll(positions) {
  for (const row of document.querySelectorAll(".row")) row.scrollLeft = positions.get(row.getAttribute("aria-label")) ?? 0;
}

// What was really seen: a slot at least half in view is an impression, once per answer.
const seen = [];
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    watcher.unobserve(entry.target);
    const slot = entry.target.dataset;
    seen.push(event("impression", slot, {
      shelf: slot.shelf || null, position: Number(slot.position), propensity: Number(slot.propensity), reason: slot.reason,
    }));
  }
}, { threshold: 0.5 });

async function flushSeen() {
  if (!seen.length) return;
  try { await post(seen.splice(0, 200)); } catch (error) { say(`Not logged: ${error.message}`); }
}

function prepare() {
  const saved = new Set(JSON.parse(sessionStorage.getItem("saved") ?? "[]"));
  for (const node of tracksShown()) {
    watcher.observe(node);
    node.querySelector("[data-action=save]").setAttribute("aria-pressed", saved.has(node.dataset.track));
    node.classList.toggle("playing", now?.track.track === node.dataset.track);
  }
}

// --- playing ---------------------------------------------------------------------------------------------

let now = null; // {track, duration (ms), begin (performance.now), timer, next}

async function play(node, reason) {
  const track = { ...node.dataset };
  const next = node.nextElementSibling?.dataset.track;
  if (now) await stop("clickrow", reason === "clickrow");
  const response = await fetch(`/v1/tracks/${track.track}`);
  const duration = (response.ok && (await response.json()).duration_ms) || 200_000;
  now = { track, duration, begin: performance.now(), next, timer: setInterval(tick, 200) };
  byId("player-title").textContent = track.title;
  byId("player-artist").textContent = track.artist;
  byId("player").hidden = false;
  prepare();
  tick();
  await log([event("play_start", track, { reason_start: reason })], `Playing ${track.title}`, false);
}

const elapsed = () => Math.min(now.duration, Math.round((performance.now() - now.begin) * SPEED));

function tick() {
  const ms = elapsed();
  byId("player-progress").value = ms / now.duration;
  byId("player-clock").textContent = `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;
  if (ms >= now.duration) finish();
}

// A station plays on through its page and asks for the next one after a skip or at the end; home always answers.
const isStation = Boolean(body.dataset.seed);

async function stop(reason, skipped, ms = elapsed()) {
  const { track, timer } = now;
  clearInterval(timer);
  now = null;
  byId("player").hidden = true;
  prepare();
  const end = event("play_end", track, { ms_played: ms, reason_end: reason, skipped });
  const done = skipped ? `Skipped ${track.title} at ${Math.round(ms / 1000)} s` : `Heard ${track.title} to the end`;
  await log([end], done, !isStation);
}

async function finish() {
  const next = now.next;
  await stop("trackdone", false, now.duration);
  if (isStation && !next) await refresh();
  advance(next);
}

async function skip() {
  const next = now.next;
  await stop("fwdbtn", true);
  if (isStation) await refresh();
  advance(next);
}

function advance(next) {
  const nodes = tracksShown();
  const node = nodes.find((n) => n.dataset.track === next) ?? (isStation ? nodes[0] : null);
  if (node && !now) play(node, "trackdone");
}

// --- save, not interested --------------------------------------------------------------------------------

function toggleSaved(node) {
  const saved = new Set(JSON.parse(sessionStorage.getItem("saved") ?? "[]"));
  const was = saved.delete(node.dataset.track);
  if (!was) saved.add(node.dataset.track);
  sessionStorage.setItem("saved", JSON.stringify([...saved]));
  prepare();
  return log([event(was ? "unsave" : "save", node.dataset)], `${was ? "No longer saved" : "Saved"}: ${node.dataset.title}`, !isStation);
}

function reject(node) {
  node.classList.add("gone");
  return log([event("not_interested", node.dataset)], `You will not see ${node.dataset.title} again`);
}

function snooze(node) {
  for (const other of tracksShown()) other.classList.toggle("gone", other.dataset.artistId === node.dataset.artistId || other.classList.contains("gone"));
  const wish = { track_id: null, artist_id: node.dataset.artistId };
  return log([event("snooze_artist", node.dataset, wish)], `You will not see ${node.dataset.artist} for 30 days`);
}

const ACTIONS = { play: (node) => play(node, "clickrow"), save: toggleSaved, not_interested: reject, snooze };

document.addEventListener("click", (click) => {
  const button = click.target.closest("[data-action]");
  if (button) ACTIONS[button.dataset.action](button.closest(".track"));
});

if (byId("answer")) {
  byId("player-skip").addEventListener("click", skip);
  byId("player-finish").addEventListener("click", finish);
  keepListener();
  prepare();
  setInterval(flushSeen, 1000);
}
