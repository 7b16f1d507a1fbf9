// The page: what the user does, and what comes from the server.

import { get, listen, post } from "./api.js";
import { make, setText, size, speed } from "./format.js";
import { TorrentList } from "./list.js";
import { Pane } from "./pane.js";

const LINES = 300;
const find = (id) => document.getElementById(id);
const totals = {};

const pane = new Pane(find, { play, failed });
const list = new TorrentList(
  { list: find("list"), filter: find("filter"), sort: find("sort"), states: find("states"), empty: find("empty") },
  { open: show, changed: writeTotals },
);

listen({
  whole(state) {
    fresh();
    takeTotals(state.totals);
    list.replace(state.torrents);
    find("lines").replaceChildren();
    writeLog(state.log);
  },
  delta(state) {
    fresh();
    takeTotals(state.totals);
    sayComplete(state.torrents);
    list.update(state.torrents, state.gone);
    // The files of a link are known, or all is checked: there is more to see.
    if (state.torrents[pane.hash]?.state) pane.load();
    writeLog(state.log);
  },
  lost() {
    find("lost").hidden = false;
    document.body.classList.add("stale");
  },
});

function sayComplete(changes) {
  for (const [hash, { state }] of Object.entries(changes)) {
    const before = list.torrents.get(hash);
    if (state === "seeding" && before?.state === "downloading") say(`${before.name} is complete`);
  }
}

function show(hash) {
  pane.show(hash);
  writeTotals();
}

function fresh() {
  find("lost").hidden = true;
  document.body.classList.remove("stale");
}

function takeTotals(changes) {
  Object.assign(totals, changes);
  pane.streams = totals.stream;
  setText(find("place"), `geventbt ${totals.version} · ${totals.folder}${totals.free === null ? "" : `, ${size(totals.free)} free`}`);
}

function writeTotals() {
  let [down, up] = [0, 0];
  for (const torrent of list.torrents.values()) [down, up] = [down + torrent.down, up + torrent.up];
  setText(find("total-down"), speed(down) + limitText(totals.limit_down));
  setText(find("total-up"), speed(up) + limitText(totals.limit_up));
  const torrent = list.torrents.get(pane.hash);
  if (!torrent) return;
  setText(find("pane-name"), torrent.name);
  setText(find("pane-note"), torrent.error ?? torrent.waiting ?? `${size(torrent.done)} of ${size(torrent.wanted)}, ${size(torrent.sent)} sent`);
  setText(find("pause"), ["paused", "failed"].includes(torrent.state) ? "Resume" : "Pause");
}

const limitText = (limit) => (limit === null || limit === undefined ? "" : ` (at most ${speed(limit)})`);

function writeLog(lines) {
  const place = find("lines");
  for (const [, when, level, text] of lines) {
    place.append(make("li", { class: level }, `${new Date(when * 1000).toLocaleTimeString()} ${text}`));
  }
  while (place.children.length > LINES) place.firstChild.remove();
  if (lines.length) place.scrollTop = place.scrollHeight;
}

// ---------------------------------------------------------------- what the user does

const timers = new Map();

// Says something for a while, also to those who hear the page.
function say(text, place = "message", seconds = 5) {
  find(place).textContent = text;
  clearTimeout(timers.get(place));
  timers.set(place, setTimeout(() => find(place).replaceChildren(), seconds * 1000));
}

function failed(error) {
  say(error.message, "error", 15);
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    failed(error);
  }
}

const added = ({ name, hash }) => {
  say(`Added ${name}`);
  list.current = hash;
  show(hash);
};

const addLink = (link) => attempt(async () => added(await post("torrents", { link })));

const addFiles = (files) => Promise.all([...files].map((file) => attempt(async () => added(await post("torrents", file, "application/x-bittorrent")))));

find("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const link = find("link").value;
  find("link").value = "";
  await addLink(link);
});
find("file").addEventListener("change", async (event) => {
  await addFiles(event.target.files);
  event.target.value = "";
});
find("file-button").addEventListener("click", () => find("file").click());

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length) addFiles(event.dataTransfer.files);
  else if (event.dataTransfer.getData("text")) addLink(event.dataTransfer.getData("text"));
});
document.addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text");
  if (!isTyping(event.target) && text) addLink(text);
});

const act = (name, hash = list.current, body = {}) => hash && attempt(() => post(`torrents/${hash}/${name}`, body));

const pauseOrResume = () => {
  const torrent = list.torrents.get(list.current);
  if (torrent) act(["paused", "failed"].includes(torrent.state) ? "resume" : "pause");
};

function ask(dialog, answer, then) {
  dialog.returnValue = "cancel";
  dialog.onclose = () => dialog.returnValue === answer && then();
  dialog.showModal();
}

function askRemove() {
  const [torrent, hash] = [list.torrents.get(list.current), list.current];
  if (!torrent) return;
  const box = find("remove-data");
  box.checked = false;
  setText(find("remove-name"), torrent.name);
  let data = "its files";
  const tell = () => {
    setText(find("remove-what"), box.checked ? `This deletes ${data}. It cannot be undone.` : `It keeps ${data}.`);
    setText(find("remove-yes"), box.checked ? "Remove and delete" : "Remove");
  };
  box.onchange = tell;
  tell();
  ask(find("remove-dialog"), "remove", () => act("remove", hash, { delete: box.checked }));
  attempt(async () => {
    data = describeData(await get(`torrents/${hash}`), torrent);
    tell();
  });
}

function describeData({ file_count: files, folder, name }, { done }) {
  if (!files) return "nothing, as its files are not known yet";
  return `${files === 1 ? "1 file" : `${files} files`} with ${size(done)}: ${name} in ${folder}`;
}

find("pause").addEventListener("click", pauseOrResume);
find("check").addEventListener("click", () => act("check"));
find("remove").addEventListener("click", askRemove);
find("close").addEventListener("click", () => list.take(null, true));
find("copy").addEventListener("click", () => attempt(async () => {
  if (!pane.details?.magnet) throw new Error("the link is not known yet");
  await navigator.clipboard.writeText(pane.details.magnet);
  say("The link is copied.");
}));

find("limits-button").addEventListener("click", () => {
  const dialog = find("limits-dialog");
  const fields = { down: find("limit-down"), up: find("limit-up") };
  for (const [name, field] of Object.entries(fields)) {
    const limit = totals[`limit_${name}`];
    field.value = limit === null ? "" : Math.ceil(limit / 1024);
  }
  const rate = ({ value }) => (value === "" ? null : value * 1024);
  ask(dialog, "set", () => attempt(() => post("limits", { down: rate(fields.down), up: rate(fields.up) })));
});

function play(name, address) {
  setText(find("player-name"), name);
  find("player-link").href = address;
  find("video").src = address;
  find("player").showModal();
  find("video").play().catch(() => {});
}

const stopPlaying = () => {
  // Without a source the browser lets go of the connection.
  find("video").removeAttribute("src");
  find("video").load();
};
find("player").addEventListener("close", stopPlaying);
find("player-close").addEventListener("click", () => find("player").close());

const isTyping = (element) => element instanceof Element && element.matches("input, select, textarea");

const KEYS = {
  ArrowDown: () => list.move(1),
  ArrowUp: () => list.move(-1),
  Home: () => list.move(-Infinity),
  End: () => list.move(Infinity),
  Enter: () => list.current && show(list.current),
  " ": pauseOrResume,
  Delete: askRemove,
  Escape: () => list.take(null, true),
  "/": () => find("filter").focus(),
  a: () => find("link").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // Enter and Space on a button or link are its own.
  if (["Enter", " "].includes(event.key) && event.target.closest("button, a, summary, label")) return;
  const action = KEYS[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
