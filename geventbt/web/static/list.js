// The list of torrents: one row for each, of which only the cells that change are written.

import { bar, make, percent, setAttribute, setBar, setText, size, speed, time } from "./format.js";

const STATES = ["downloading", "seeding", "paused", "checking", "metadata", "failed"];
const CELLS = ["name", "state", "progress", "size", "down", "up", "eta", "peers"];
const SORTED_DOWN = ["fraction", "down", "up", "size"];

export class TorrentList {
  constructor(elements, { open, changed }) {
    this.elements = elements;
    this.open = open;
    this.changed = changed;
    this.torrents = new Map();
    this.rows = new Map();
    this.shown = [];
    this.current = null;
    this.state = null;
    elements.filter.addEventListener("input", () => this.arrange());
    elements.sort.addEventListener("change", () => this.arrange());
    elements.list.addEventListener("click", (event) => this.take(event.target.closest(".row")?.dataset.hash, true));
  }

  replace(torrents) {
    for (const hash of [...this.torrents.keys()]) if (!(hash in torrents)) this.drop(hash);
    this.update(torrents, []);
  }

  update(torrents, gone) {
    gone.forEach((hash) => this.drop(hash));
    for (const [hash, changes] of Object.entries(torrents)) {
      const torrent = { ...this.torrents.get(hash), ...changes };
      this.torrents.set(hash, torrent);
      if (!this.rows.has(hash)) this.rows.set(hash, makeRow(hash));
      writeRow(this.rows.get(hash), torrent);
    }
    this.arrange();
  }

  drop(hash) {
    this.torrents.delete(hash);
    this.rows.get(hash)?.element.remove();
    this.rows.delete(hash);
    if (this.current === hash) this.leave(hash);
  }

  // Closes what is gone, and leaves the focus in the list.
  leave(hash) {
    const index = this.shown.indexOf(hash);
    this.take(null, true);
    const next = this.rows.get(this.shown[index + 1] ?? this.shown[index - 1]);
    if (!document.activeElement.matches("input, select")) next?.element.focus();
  }

  // Puts the rows that are to be seen in order, and moves only those that are not in their place.
  arrange() {
    const words = this.elements.filter.value.toLowerCase();
    const key = this.elements.sort.value;
    const sign = SORTED_DOWN.includes(key) ? -1 : 1;
    const order = (left, right) => {
      const [a, b] = [this.torrents.get(left), this.torrents.get(right)];
      const first = key === "name" ? 0 : sign * ((a[key] ?? 0) - (b[key] ?? 0));
      return first || a.name.localeCompare(b.name) || (left < right ? -1 : 1);
    };
    this.shown = [...this.torrents.keys()].filter((hash) => {
      const torrent = this.torrents.get(hash);
      return (this.state === null || torrent.state === this.state) && torrent.name.toLowerCase().includes(words);
    }).sort(order);
    const list = this.elements.list;
    const wanted = new Set(this.shown);
    for (const [hash, row] of this.rows) if (!wanted.has(hash)) row.element.remove();
    this.shown.forEach((hash, index) => {
      const { element } = this.rows.get(hash);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    this.elements.empty.hidden = this.torrents.size > 0;
    this.writeStates();
    this.markCurrent(false);
    this.changed();
  }

  writeStates() {
    const counts = new Map([[null, this.torrents.size]]);
    for (const { state } of this.torrents.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
    const wanted = [null, ...STATES.filter((state) => counts.has(state) || state === this.state)];
    const buttons = this.elements.states;
    while (buttons.children.length > wanted.length) buttons.lastChild.remove();
    wanted.forEach((state, index) => {
      const button = buttons.children[index] ?? buttons.appendChild(make("button", { type: "button" }));
      setText(button, `${state ?? "all"} ${counts.get(state) ?? 0}`);
      button.setAttribute("aria-pressed", String(this.state === state));
      button.onclick = () => {
        this.state = state;
        this.arrange();
      };
    });
  }

  take(hash, opens) {
    this.current = hash ?? null;
    this.markCurrent(true);
    if (opens) this.open(this.current);
  }

  move(step) {
    if (!this.shown.length) return;
    const index = this.shown.indexOf(this.current);
    const next = index < 0 ? 0 : Math.min(Math.max(index + step, 0), this.shown.length - 1);
    this.take(this.shown[next], false);
  }

  markCurrent(focuses) {
    const first = this.shown.includes(this.current) ? this.current : this.shown[0];
    for (const [hash, { element }] of this.rows) {
      setAttribute(element, "aria-selected", String(hash === this.current));
      setAttribute(element, "tabindex", hash === first ? "0" : "-1");
    }
    if (focuses && this.current) this.rows.get(this.current)?.element.focus();
  }
}

function makeRow(hash) {
  const cells = Object.fromEntries(CELLS.map((name) => [name, make("span", { class: name })]));
  cells.bar = bar(0, "progress");
  cells.progress.append(cells.bar);
  const element = make("div", { class: "row", role: "option", tabindex: -1, "data-hash": hash }, ...CELLS.map((name) => cells[name]));
  return { element, cells };
}

function writeRow({ element, cells }, torrent) {
  setText(cells.name, torrent.name);
  cells.name.title = torrent.name;
  setText(cells.state, torrent.state);
  cells.state.className = `state ${torrent.state}`;
  cells.state.title = torrent.error ?? torrent.waiting ?? "";
  setBar(cells.bar, torrent.fraction);
  setText(cells.size, size(torrent.size));
  setText(cells.down, torrent.down ? `↓ ${speed(torrent.down)}` : "");
  setText(cells.up, torrent.up ? `↑ ${speed(torrent.up)}` : "");
  setText(cells.eta, time(torrent.eta));
  setText(cells.peers, String(torrent.peers));
  setAttribute(element, "aria-label", `${torrent.name}, ${torrent.state}, ${percent(torrent.fraction)}`);
}
