"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id), canvas = at("map"), pen = canvas.getContext("2d"), player = at("player");
const N = data.names.length, hidden = new Set(), lower = data.names.map(name => name.toLowerCase());
let view = { x: 0.5, y: 0.5, zoom: 1 }, selected = -1, hovered = -1, words = [], lasso = null;

// Colours

let ordered = false, groups = [], groupOf = [], colour = [], middles = [];
function colourBy(index) {
  const own = data.colourings[index].groups;
  groups = [...new Set(own)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const numbers = new Map(groups.map((name, k) => [name, k]));
  groupOf = own.map(name => numbers.get(name)); hidden.clear();
  ordered = /^(time|hour|day)$/.test(data.colourings[index].title);
  const turn = ordered ? 300 / groups.length : 137.508;
  colour = groups.map((name, k) => /^\((none|others)\)$/.test(name) ? "hsl(0 0% 60%)" : `hsl(${(k * turn + 210) % 360} 65% 52%)`);
  const median = values => values.sort((a, b) => a - b)[values.length >> 1];
  middles = groups.map((_, k) => {
    const members = data.places.filter((_, row) => groupOf[row] === k);
    return [median(members.map(place => place[0])), median(members.map(place => place[1])), members.length];
  });
  at("legend").replaceChildren(...groups.map((name, k) => {
    const button = document.createElement("button"), dot = document.createElement("i");
    dot.style.background = colour[k]; button.append(dot, name || "(top)"); button.setAttribute("aria-pressed", "true");
    button.onclick = () => {
      hidden.has(k) ? hidden.delete(k) : hidden.add(k);
      button.setAttribute("aria-pressed", String(!hidden.has(k))); filter();
    };
    return button;
  }));
  at("folders").hidden = groups.length < 2 && data.colourings.length < 2; filter();
}
at("by").append(...data.colourings.map((one, k) => new Option(one.title, k)));
at("by").onchange = () => colourBy(Number(at("by").value));
at("named").onchange = () => redraw();

// The map

const shown = k => !hidden.has(groupOf[k]) && words.every(word => lower[k].includes(word));
const scale = () => 0.92 * Math.min(canvas.clientWidth, canvas.clientHeight) * view.zoom;
const frame = () => {  // asks for the page's layout, so once for all points
  const unit = scale();
  return [unit, canvas.clientWidth / 2 - view.x * unit, canvas.clientHeight / 2 + view.y * unit];
};
const within = ([x, y], [unit, left, top]) => [left + x * unit, top - y * unit];
const onScreen = point => within(point, frame());
const place = k => onScreen(data.places[k]);

const layer = document.createElement("canvas");  // the points alone, drawn again only where they change
let drawn = "", looks = 0;
function fit(target) {
  const ratio = devicePixelRatio || 1, own = target.getContext("2d");
  const width = Math.round(target.clientWidth * ratio), height = Math.round(target.clientHeight * ratio);
  if (target.width !== width || target.height !== height) { target.width = width; target.height = height; }
  own.setTransform(1, 0, 0, 1, 0, 0); own.clearRect(0, 0, width, height);
  return [own, ratio];
}
function draw() {
  const [, ratio] = fit(canvas), style = getComputedStyle(document.documentElement);
  const size = Math.max(2, Math.min(7, 60 / Math.sqrt(N) * Math.sqrt(view.zoom)));
  const key = [view.x, view.y, view.zoom, canvas.width, canvas.height, looks].join();
  if (key !== drawn) { drawn = key; drawPoints(ratio, size); }
  pen.drawImage(layer, 0, 0); pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.strokeStyle = style.getPropertyValue("--ink");
  for (const k of marks.keys()) ring(k, size + 1, 1.5);
  pen.strokeStyle = style.getPropertyValue("--mark");
  if (selected >= 0) for (const k of data.nearest[selected]) ring(k, size + 2, 1.2);
  if (selected >= 0) ring(selected, size + 4, 3);
  if (hovered >= 0) ring(hovered, size + 2, 2);
  if (at("named").checked && !ordered && groups.length > 1 && groups.length <= 40) nameGroups(style);
  if (lasso) { pen.lineWidth = 1.5; pen.beginPath(); lasso.forEach(point => pen.lineTo(...point)); pen.stroke(); }
  if (data.timeline) drawTimeline(style);
}
function drawPoints(ratio, size) {
  layer.width = canvas.width; layer.height = canvas.height;
  const pen = layer.getContext("2d"), now = frame();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const bright = groups.map(() => new Path2D()), faint = groups.map(() => new Path2D());  // one fill for each group
  for (let k = 0; k < N; k++) {
    const [x, y] = within(data.places[k], now), path = (shown(k) ? bright : faint)[groupOf[k]];
    if (size > 2 || N < 5000) { path.moveTo(x + size, y); path.arc(x, y, size, 0, 7); } else path.rect(x - 1.8, y - 1.8, 3.6, 3.6);
  }
  for (const [paths, alpha] of [[faint, 0.12], [bright, 0.85]]) paths.forEach((path, k) => {
    pen.globalAlpha = alpha; pen.fillStyle = colour[k]; pen.fill(path);
  });
}
function nameGroups(style) {
  pen.font = "600 12px system-ui, sans-serif"; pen.textAlign = "center"; pen.lineWidth = 4; pen.lineJoin = "round";
  pen.strokeStyle = style.getPropertyValue("--paper"); pen.fillStyle = style.getPropertyValue("--ink");
  const taken = [];  // by the names of larger groups
  for (const k of [...groups.keys()].sort((a, b) => middles[b][2] - middles[a][2])) {
    const [x, y] = onScreen(middles[k]), half = pen.measureText(groups[k]).width / 2;
    if (hidden.has(k) || taken.some(([tx, ty, other]) => Math.abs(tx - x) < other + half && Math.abs(ty - y) < 14)) continue;
    taken.push([x, y, half]); pen.strokeText(groups[k], x, y - 10); pen.fillText(groups[k], x, y - 10);
  }
}
function ring(k, radius, width) {
  const [x, y] = place(k);
  pen.lineWidth = width; pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.stroke();
}
let waiting = false;
function redraw() { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } }

function nearestTo(x, y, reach) {
  let best = -1, least = reach * reach;
  const now = frame();
  for (let k = 0; k < N; k++) if (shown(k)) {
    const [px, py] = within(data.places[k], now), far = (px - x) ** 2 + (py - y) ** 2;
    if (far < least) { least = far; best = k; }
  }
  return best;
}
function reveal(k) {
  const [x, y] = place(k);
  if (x < 20 || y < 20 || x > canvas.clientWidth - 20 || y > canvas.clientHeight - 20) [view.x, view.y] = data.places[k];
  redraw();
}
function step(dx, dy) {
  if (selected < 0) return select(nearestTo(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e9), false);
  const [x, y] = place(selected), now = frame(); let best = -1, least = Infinity;
  for (let k = 0; k < N; k++) if (k !== selected && shown(k)) {
    const [px, py] = within(data.places[k], now), along = (px - x) * dx + (py - y) * dy, across = Math.abs((px - x) * dy - (py - y) * dx);
    if (along > 0.5 && across <= 2 * along && along + 2 * across < least) { least = along + 2 * across; best = k; }
  }
  if (best >= 0) { select(best, false); reveal(best); }
}
function zoom(factor, x, y) {
  const before = scale(); view.zoom = Math.min(200, Math.max(0.5, view.zoom * factor));
  const gain = 1 / before - 1 / scale();
  view.x += (x - canvas.clientWidth / 2) * gain; view.y -= (y - canvas.clientHeight / 2) * gain; redraw();
}

// The selected sound

const clock = seconds => {
  const minutes = Math.floor(seconds / 60), rest = (seconds - 60 * minutes).toFixed(2);
  return minutes ? `${minutes}:${rest.padStart(5, "0")}` : rest;
};
const times = k => {
  const [start, end] = data.parts[k] || [0, null];
  return !data.parts[k] ? "" : end === null ? `from ${clock(start)} s` : `${clock(start)} to ${clock(end)} s`;
};
const label = k => [data.names[k], times(k)].filter(Boolean).join(", ");
const short = name => name.split("/").slice(-2).join("/");
const stop = k => data.frames || !data.parts[k] ? null : data.parts[k][1];  // where the player stops; frames play on
const opened = [];  // files that were chosen for data.shards
let address = "";
function addressOf(k) {  // a page from the disk may read no part of a file but of one that its reader chooses
  URL.revokeObjectURL(address.split("#")[0]);
  if (k < 0 || !data.members[k]) return address = k < 0 ? "" : data.sounds[k];
  const [shard, first, size] = data.members[k], end = stop(k);
  if (!opened[shard]) return address = "";
  const times = `#t=${(data.parts[k] || [0])[0]}${end === null ? "" : "," + end}`;
  return address = URL.createObjectURL(opened[shard].slice(first, first + size)) + times;
}
const base = path => path.split(/[/\\]/).pop();
at("shards").onchange = event => {
  const own = data.members[selected][0], wanted = data.shards[own];
  if (!event.target.files.length) return;
  for (const file of event.target.files) {
    const fits = data.shards.flatMap(([path, bytes], k) => base(path) === file.name && bytes === file.size ? [k] : []);
    if (fits.includes(own)) opened[own] = file; else if (fits.length === 1) opened[fits[0]] = file;
  }
  if (opened[own]) select(selected, true); else note(`That is not ${wanted[0]}: name and size must be the same.`);
};
const whyNot = k => k < 0 || address ? "" : data.members[k]
  ? `To listen, choose ${data.shards[data.members[k][0]][0]}; a page may not open a shard by itself.`
  : "No file that a browser can play was there when the map was drawn.";
function note(text) { at("note").textContent = [selected < 0 ? "" : times(selected), text].filter(Boolean).join(". "); }
function line(k, figure, current) {
  const item = document.createElement("li"), button = document.createElement("button"), span = document.createElement("span");
  button.append(short(label(k)), span); button.title = label(k); span.textContent = figure; item.append(button);
  button.onclick = () => { select(k, true); reveal(k); if (current) current(item); };
  return item;
}
function select(k, play) {
  selected = k; at("alike").hidden = k < 0; at("list").replaceChildren();
  at("name").textContent = k < 0 ? "Nothing selected." : data.names[k];
  player.pause(); addressOf(k); note(whyNot(k)); picture(at("picture"), k);
  player.hidden = !address; at("choose").hidden = k < 0 || !data.members[k] || Boolean(address);
  if (address) { player.src = address; if (play) player.play().catch(() => {}); }
  if (k >= 0) at("list").append(...data.nearest[k].map((other, rank) => line(other, data.cosines[k][rank].toFixed(2))));
  redraw();
}
player.onerror = () => note("The browser cannot find or cannot play the file.");
player.onplay = function watch() {  // the address names the end of a part, but a browser heeds it once
  const end = stop(selected);
  if (end !== null && player.currentTime >= end) { player.pause(); player.currentTime = data.parts[selected][0]; }
  else if (!player.paused) requestAnimationFrame(watch);
  if (data.timeline && data.frames) point(rowAt(player.currentTime));
};
function bytesOf(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
  return bytes;
}
const [wide, high] = data.pictures.size, greys = bytesOf(data.pictures.bytes);
function picture(target, k) {
  const first = k * wide * high / 2; target.hidden = k < 0 || first >= greys.length;
  if (!target.hidden) paint(target, greys.subarray(first), wide, high);
}
function paint(target, greys, wide, high) {
  target.width = wide; target.height = high;
  const own = target.getContext("2d"), image = own.createImageData(wide, high);
  for (let cell = 0; cell < wide * high; cell++) {
    const level = (greys[cell >> 1] >> (cell % 2 ? 0 : 4) & 15) / 15, x = Math.floor(cell / high), y = high - 1 - cell % high;
    image.data.set([255 * Math.min(1, 1.6 * level), 255 * level ** 2, 90 + 120 * Math.sin(Math.PI * level), 255], 4 * (y * wide + x));
  }
  own.putImageData(image, 0, 0);
}
function follow() {  // #sound=PATH, and &start=SECONDS of a part
  const asked = new URLSearchParams(location.hash.slice(1)), name = asked.get("sound"), start = Number(asked.get("start"));
  if (name === null) return;
  const far = k => Math.abs((data.parts[k] || [0])[0] - start);
  let found = -1;
  for (let k = 0; k < N; k++) if (data.names[k] === name && (found < 0 || far(k) < far(found))) found = k;
  select(found, false);
  if (found < 0) note(`This map has no sound ${name}.`); else [view.x, view.y] = data.places[found];
}

// The timeline of one recording: its spectrogram, and the group of each row below it

const band = at("timeline"), spectrogram = document.createElement("canvas"), strip = data.timeline;
const duration = strip ? strip.step * strip.size[0] : 0, MARGIN = 30;
function rowAt(time) {
  let found = 0;
  for (let k = 0; k < N && data.parts[k][0] <= time; k++) if (shown(k)) found = k;
  return found;
}
function point(k) { if (k !== hovered) { hovered = k; redraw(); } }
function drawTimeline(style) {
  const [own, ratio] = fit(band), width = band.clientWidth, height = band.clientHeight - MARGIN, unit = width / duration;
  own.setTransform(ratio, 0, 0, ratio, 0, 0); own.imageSmoothingEnabled = false;
  own.drawImage(spectrogram, 0, 0, width, height);
  for (let k = 0; k < N; k++) {
    const start = data.parts[k][0], end = k + 1 < N ? data.parts[k + 1][0] : duration;
    own.globalAlpha = shown(k) ? 1 : 0.12; own.fillStyle = colour[groupOf[k]];
    own.fillRect(start * unit, height + 2, (end - start) * unit + 0.5, 10);
  }
  own.globalAlpha = 1; own.fillStyle = style.getPropertyValue("--soft"); own.font = "11px system-ui, sans-serif";
  const ticks = Math.max(1, Math.floor(width / 90)), even = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200].find(step => duration / step <= ticks) || duration;
  for (let time = 0; time < duration; time += even) own.fillText(clock(time).replace(/\.00$/, duration < 60 ? " s" : ""), time * unit + 2, height + 25);
  for (const [k, name] of [[selected, "--mark"], [hovered, "--ink"]]) if (k >= 0) {
    own.fillStyle = style.getPropertyValue(name); own.fillRect(data.parts[k][0] * unit - 1, 0, 2, height + 14);
  }
}
if (strip) {
  const [wide, high] = strip.size, timeOf = event => event.offsetX / band.clientWidth * duration;
  band.hidden = false; paint(spectrogram, bytesOf(strip.bytes), wide, high);
  band.onclick = event => { const k = rowAt(timeOf(event)); select(k, true); reveal(k); };
  band.onpointermove = event => point(rowAt(timeOf(event)));
  band.onpointerleave = () => point(-1);
  band.onkeydown = event => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) { select(Math.min(N - 1, Math.max(0, selected + move)), false); reveal(selected); event.preventDefault(); }
    else if (event.key === "Enter" && selected >= 0) select(selected, true);
  };
}

// Search, mouse and keys

function filter() {
  words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0; for (let k = 0; k < N; k++) count += shown(k);
  looks++; at("count").textContent = `${count === N ? N : `${count} of ${N}`} ${data.parts.some(Boolean) ? "parts" : "sounds"}`; at("matches").replaceChildren(); redraw();
}
at("search").oninput = filter;
at("search").onkeydown = event => {
  if (event.key !== "Enter") return;
  const found = []; for (let k = 0; k < N && found.length < 50; k++) if (shown(k)) found.push(k);
  at("matches").replaceChildren(...found.map(k => line(k, "")));
};
const inside = ([x, y], path) => path.reduce((odd, [ax, ay], k) => {
  const [bx, by] = path[(k + 1) % path.length];
  return (ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax ? !odd : odd;
}, false);
let drag = null;
canvas.onpointerdown = event => {
  if (event.shiftKey) lasso = [[event.offsetX, event.offsetY]]; else drag = { x: event.offsetX, y: event.offsetY, far: 0 };
  canvas.setPointerCapture(event.pointerId);
};
canvas.onpointermove = event => {
  if (lasso) lasso.push([event.offsetX, event.offsetY]);
  else if (drag) {
    const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y; drag.far += Math.abs(dx) + Math.abs(dy);
    view.x -= dx / scale(); view.y += dy / scale(); drag.x = event.offsetX; drag.y = event.offsetY;
  } else hovered = nearestTo(event.offsetX, event.offsetY, 14);
  const tip = at("tip"); tip.style.display = hovered < 0 || drag || lasso ? "none" : "block";
  if (hovered >= 0) {
    tip.lastElementChild.textContent = label(hovered); picture(tip.firstElementChild, hovered);
    tip.style.left = Math.min(event.offsetX + 14, canvas.clientWidth - 230) + "px";
    tip.style.top = Math.min(event.offsetY + 14, canvas.clientHeight - 130) + "px";
  }
  redraw();
};
canvas.onpointerup = event => {
  if (lasso) {
    const path = lasso, now = frame(); lasso = null;
    mark([...Array(N).keys()].filter(k => shown(k) && inside(within(data.places[k], now), path))); redraw();
  }
  if (drag && drag.far < 5) { const k = nearestTo(event.offsetX, event.offsetY, 14); if (k >= 0) select(k, true); }
  drag = null;
};
canvas.onpointerleave = () => { hovered = -1; at("tip").style.display = "none"; redraw(); };
canvas.onwheel = event => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); };
canvas.onkeydown = event => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (moves[event.key]) { step(...moves[event.key]); event.preventDefault(); }
  else if (event.key === "Enter" && selected >= 0) select(selected, true);
  else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.3 : 1 / 1.3, canvas.clientWidth / 2, canvas.clientHeight / 2);
};
const typing = () => ["search", "text"].includes(document.activeElement.type) || document.activeElement.tagName === "SELECT";
const keys = {
  m: () => mark([selected]), n: () => at("ranked").children.length ? judge(true) : mark([selected], true), y: () => judge(false),
  r: () => showRanked(true), u: undo, " ": () => player.paused ? player.play().catch(() => {}) : player.pause(),
  "/": () => at("search").focus(),
};
addEventListener("keydown", event => {
  if (event.key === "Escape") { at("search").value = ""; at("ranked").replaceChildren(); select(-1, false); filter(); canvas.focus(); }
  else if (!typing() && keys[event.key] && !event.ctrlKey && !event.metaKey && !(event.key === " " && document.activeElement.tagName === "BUTTON")) {
    keys[event.key](); event.preventDefault();
  }
});
addEventListener("resize", redraw);
addEventListener("hashchange", follow);
matchMedia("(prefers-color-scheme: dark)").onchange = redraw;
