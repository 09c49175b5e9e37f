// Labels: marked sounds, and the others ranked by a linear model of them

const D = data.vectors.width, vectors = Float32Array.from(new Int8Array(bytesOf(data.vectors.bytes).buffer), v => v / 127);
const marks = new Map();  // row -> name of the class; "" where it was said not to be of `against`
const against = new Map();  // row -> names that it is not
const history = [];
const current = () => at("label").value.trim();
function change(rows, name, not) {
  history.push(rows.map(k => [k, marks.get(k), new Set(against.get(k))]));
  for (const k of rows) {
    if (not) { against.set(k, new Set(against.get(k)).add(name)); if (marks.get(k) === name) marks.delete(k); }
    else { marks.set(k, name); against.get(k)?.delete(name); }
  }
  told();
}
function undo() {
  for (const [k, name, not] of history.pop() || []) {
    name === undefined ? marks.delete(k) : marks.set(k, name);
    against.set(k, not);
  }
  told(); if (at("ranked").children.length) showRanked();
}
function told() {
  const counts = new Map(); for (const name of marks.values()) counts.set(name, (counts.get(name) || 0) + 1);
  at("marked").textContent = [...counts].map(([name, count]) => `${count} ${name}`).join(", "); redraw();
}
function mark(rows, not = false) {
  if (!current()) { at("label").focus(); at("marked").textContent = "Name the class first."; return; }
  change(rows.filter(k => k >= 0), current(), not);
}
// Logistic regression by gradient steps. A mark and a rejection weigh the same in sum; of the rest, some weigh a little.
function rank(name) {
  const yes = [...marks].filter(([, own]) => own === name).map(([k]) => k);
  const no = [...Array(N).keys()].filter(k => against.get(k)?.has(name) || (marks.has(k) && marks.get(k) !== name));
  const rest = [...Array(N).keys()].filter(k => !marks.has(k) && !against.get(k)?.has(name));
  const some = rest.filter((_, k) => k % Math.ceil(rest.length / 300) === 0), w = new Float64Array(D + 1);
  const sample = [[yes, 1, 1], [no, 0, 1], [some, 0, 0.25]].filter(([rows]) => rows.length);
  const power = rest.concat(yes, no).reduce((sum, k) => { for (let d = 0; d < D; d++) sum += vectors[k * D + d] ** 2; return sum; }, 0) / N;
  const gain = 1 / Math.sqrt(power || 1), score = k => { let sum = w[D]; for (let d = 0; d < D; d++) sum += w[d] * gain * vectors[k * D + d]; return sum; };
  for (let round = 0; round < 150; round++) {
    const slope = new Float64Array(D + 1);
    for (const [rows, truth, weight] of sample) for (const k of rows) {
      const error = (truth - 1 / (1 + Math.exp(-score(k)))) * weight / rows.length;
      for (let d = 0; d < D; d++) slope[d] += error * gain * vectors[k * D + d];
      slope[D] += error;
    }
    for (let d = 0; d < D; d++) w[d] += 2 * (slope[d] - 0.003 * w[d]);
    w[D] += 2 * slope[D];
  }
  return rest.map(k => [k, 1 / (1 + Math.exp(-score(k)))]).sort((a, b) => b[1] - a[1]);
}
function showRanked(move) {
  if (![...marks.values()].includes(current())) { at("marked").textContent = "Mark some sounds of the class first: click one, then Mark."; return; }
  const chosen = item => { for (const other of at("ranked").children) other.classList.toggle("current", other === item); };
  const top = rank(current()).slice(0, 30);
  at("ranked").replaceChildren(...top.map(([k, share]) => line(k, share.toFixed(2), chosen)));
  if (move && top.length) { select(top[0][0], true); reveal(top[0][0]); chosen(at("ranked").firstChild); }
}
function judge(not) {  // the selected sound of the list, and on to the next
  mark([selected], not); showRanked(true);
}
function table() {
  const quote = text => /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text, parts = data.parts.some(Boolean);
  const absolute = name => name.startsWith("/") || /^\w:/.test(name) ? name : `${data.folder}/${name}`;
  const lines = [...marks].sort((a, b) => a[0] - b[0]).map(([k, name]) => {
    const [start, end] = data.parts[k] || ["", ""];
    return [quote(absolute(data.names[k])), quote(name), ...(parts ? [start, end ?? ""] : [])].join(",");
  });
  return [parts ? "file,label,start,end" : "file,label", ...lines, ""].join("\n");
}
at("mark").onclick = () => mark([selected]); at("reject").onclick = () => mark([selected], true);
at("rank").onclick = () => showRanked(true); at("undo").onclick = undo;
at("label").onkeydown = event => { if (event.key === "Enter") { mark([selected]); canvas.focus(); } };
at("export").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" })); link.download = "labels.csv"; link.click();
};
