// The details of one torrent: its pieces, files, peers and trackers. Asked for only while they are seen.

import { get, post } from "./api.js";
import { bar, make, percent, setBar, setText, size, speed, time } from "./format.js";

const EVERY = 2000;
const PRIORITIES = [["0", "do not fetch"], ["1", "low"], ["4", "normal"], ["7", "high"]];
const TABS = ["files", "peers", "trackers"];

export class Pane {
  constructor(find, { play, failed }) {
    this.find = find;
    this.play = play;
    this.failed = failed;
    this.hash = null;
    this.details = null;
    this.files = new Map();
    this.streams = null;
    this.timer = null;
    for (const tab of TABS) find(`tab-${tab}`).addEventListener("click", () => {
      this.choose(tab);
      this.load();
    });
    find("tabs").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const now = TABS.findIndex((tab) => find(`tab-${tab}`).getAttribute("aria-selected") === "true");
      const next = TABS[(now + step + TABS.length) % TABS.length];
      this.choose(next);
      find(`tab-${next}`).focus();
    });
  }

  choose(chosen) {
    for (const tab of TABS) {
      this.find(`tab-${tab}`).setAttribute("aria-selected", String(tab === chosen));
      this.find(`tab-${tab}`).tabIndex = tab === chosen ? 0 : -1;
      this.find(`panel-${tab}`).hidden = tab !== chosen;
    }
  }

  show(hash) {
    clearTimeout(this.timer);
    this.hash = hash;
    this.details = null;
    this.files.clear();
    for (const tab of TABS) this.find(`panel-${tab}`).replaceChildren();
    this.find("pane").hidden = hash === null;
    if (hash !== null) this.load();
  }

  async load() {
    const { hash } = this;
    try {
      const details = document.hidden ? null : await get(`torrents/${hash}`);
      if (hash !== this.hash) return;
      if (details) this.write(details);
    } catch {
      // The list says that it is gone, or that the connection is lost.
    }
    clearTimeout(this.timer);
    if (hash === this.hash) this.timer = setTimeout(() => this.load(), EVERY);
  }

  write(details) {
    this.details = details;
    const there = [...details.map].filter((digit) => digit === "9").length;
    setText(this.find("map-text"), details.pieces
      ? `${details.pieces} pieces of ${size(details.piece_length)}; ${percent(details.map.length ? there / details.map.length : 0)} of the map is complete`
      : "not known yet");
    drawMap(this.find("map"), details.map);
    this.writeFiles(details.files);
    this.find("panel-peers").replaceChildren(...(details.peers.length ? details.peers.map(peerItem) : [none("No peers are connected.")]));
    this.find("panel-trackers").replaceChildren(...(details.trackers.length ? details.trackers.map(trackerItem) : [none("It has no trackers.")]));
  }

  // Rows of files stay as they are while their controls are used.
  writeFiles(files) {
    const panel = this.find("panel-files");
    if (!files.length) {
      panel.replaceChildren(none("The files are not known yet."));
      return;
    }
    if (this.files.size !== files.length) {
      this.files.clear();
      panel.replaceChildren(...files.map((file) => this.fileItem(file)));
    }
    for (const file of files) {
      const { progress, select } = this.files.get(file.index);
      setBar(progress, file.fraction);
      if (document.activeElement !== select) select.value = nearest(file.priority);
    }
  }

  fileItem(file) {
    const progress = bar(file.fraction, `progress of ${file.name}`);
    const select = make("select", { "aria-label": `priority of ${file.name}` }, ...PRIORITIES.map(([value, text]) => make("option", { value }, text)));
    select.value = nearest(file.priority);
    select.addEventListener("change", () => this.setPriority(file.index, Number(select.value)));
    const tools = [select];
    if (this.streams !== null) {
      const address = this.streams + file.path;
      if (file.played) {
        const button = make("button", { type: "button", class: "play", "aria-label": `play ${file.name}` }, "▶");
        button.addEventListener("click", () => this.play(file.name, address));
        tools.push(button);
      }
      tools.push(make("a", { class: "button save", href: `${address}?download=1`, "aria-label": `save ${file.name}`, download: true }, "⬇"));
    }
    this.files.set(file.index, { progress, select });
    return make("div", { class: "item" }, make("span", { class: "title" }, file.name), make("span", { class: "tools" }, ...tools),
      progress, make("span", { class: "quiet" }, size(file.length)));
  }

  async setPriority(index, priority) {
    try {
      await post(`torrents/${this.hash}/files`, { priorities: { [index]: priority } });
    } catch (error) {
      this.failed(error);
    }
    this.load();
  }
}

const none = (text) => make("p", { class: "quiet" }, text);

const nearest = (priority) => (priority === 0 ? "0" : priority < 4 ? "1" : priority === 4 ? "4" : "7");

function peerItem(peer) {
  const speeds = `↓ ${speed(peer.down)} ↑ ${speed(peer.up)}`;
  const marks = [percent(peer.fraction), peer.encrypted ? "encrypted" : "", peer.incoming ? "incoming" : ""].filter(Boolean).join(", ");
  return make("div", { class: "item" }, make("span", { class: "title" }, peer.address), make("span", {}, speeds),
    make("span", { class: "quiet" }, peer.client), make("span", { class: "quiet" }, marks));
}

function trackerItem(tracker) {
  const counts = tracker.seeders === null ? `${tracker.peers} peers` : `${tracker.seeders} seeders, ${tracker.leechers ?? 0} others`;
  const next = tracker.next === null ? "" : `again in ${time(tracker.next)}`;
  return make("div", { class: "item" }, make("span", { class: "title" }, tracker.url), make("span", {}, counts),
    make("span", { class: tracker.error ? "bad" : "quiet" }, tracker.error ?? tracker.warning ?? ""), make("span", { class: "quiet" }, next));
}

function drawMap(canvas, digits) {
  const context = canvas.getContext("2d");
  const color = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  canvas.width = Math.max(digits.length, 1);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = color;
  [...digits].forEach((digit, index) => {
    context.globalAlpha = Number(digit) / 9;
    context.fillRect(index, 0, 1, canvas.height);
  });
}
