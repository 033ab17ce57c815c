// A trace page: replays events on the canvas of a row. Only positions that a step touched are painted again.
// The pictures are drawn by page.pictures.js, which comes first.
"use strict";

const MASK = -1;
const BINS = [0.1, 0.3, 0.5, 0.7, 0.9];
const get = (id) => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const [text, detail, slider, map] = ["text", "detail", "slider", "map"].map(get);

let row; // what is shown: the prepared row
let frame = 0; // how many steps of it are done
let by = "probability";
let timer = null;
let shown = null; // position in the detail line
let pinned = false;

// ---------------------------------------------------------------- replay

// Frames (one a step that did something), what each event overwrote, and what each frame left and wrote.
function prepare(source) {
  const width = source.start.length;
  const made = {
    ...source,
    frames: [],
    before: [],
    at: source.start.map(() => []), // events by position
    state: source.start.map((token) => ({ token, event: -1, writes: 0 })),
    left: [],
    mean: [],
  };
  const state = made.state.map((cell) => ({ ...cell }));
  let masks = source.start.filter((token) => token === MASK).length;
  made.left.push(masks);
  source.step.forEach((step, event) => {
    const position = source.position[event];
    const token = source.token[event];
    let last = made.frames.at(-1);
    if (!last || last.step !== step) {
      last = { step, from: event, to: event };
      made.frames.push(last);
    }
    last.to = event + 1;
    const cell = state[position];
    made.before.push({ ...cell });
    made.at[position].push(event);
    masks += (token === MASK) - (cell.token === MASK);
    state[position] = { token, event, writes: cell.writes + (token !== MASK) };
    made.left[made.frames.length] = masks;
  });
  for (const { from, to } of made.frames) {
    let sum = 0;
    let count = 0;
    for (let event = from; event < to; event++) {
      if (source.token[event] === MASK) continue;
      sum += source.probability[event];
      count++;
    }
    made.mean.push(count ? sum / count : null);
  }
  made.last = Math.max(0, ...made.frames.map((f) => f.step));
  made.opens = source.token.includes(MASK);
  made.rewrites = state.some((cell) => cell.writes > 1);
  made.forcedSet = new Set(source.forced);
  let low = width;
  let high = -1;
  made.at.forEach((events, position) => {
    if (!events.length) return;
    low = Math.min(low, position);
    high = position;
  });
  [made.low, made.high] = high < 0 ? [0, width - 1] : [low, high];
  made.frameOf = new Int32Array(source.step.length);
  made.frames.forEach(({ from, to }, f) => made.frameOf.fill(f + 1, from, to));
  return made;
}

function go(target) {
  target = Math.max(0, Math.min(row.frames.length, target));
  const touched = new Set(row.newest);
  for (; frame < target; frame++) {
    for (let event = row.frames[frame].from; event < row.frames[frame].to; event++) {
      const position = row.position[event];
      const token = row.token[event];
      row.state[position] = { token, event, writes: row.state[position].writes + (token !== MASK) };
      touched.add(position);
    }
  }
  for (; frame > target; frame--) {
    for (let event = row.frames[frame - 1].to - 1; event >= row.frames[frame - 1].from; event--) {
      row.state[row.position[event]] = row.before[event];
      touched.add(row.position[event]);
    }
  }
  row.newest = new Set();
  if (frame) {
    const { from, to } = row.frames[frame - 1];
    for (let event = from; event < to; event++) row.newest.add(row.position[event]);
    row.newest.forEach((position) => touched.add(position));
  }
  touched.forEach(paint);
  if (shown !== null && touched.has(shown)) describe(shown);
  slider.value = frame;
  status();
  cursor();
}

// ---------------------------------------------------------------- text

const tokenText = (token) => data.tokens[token][1];
const bin = (probability) => BINS.filter((edge) => probability >= edge).length;
const stepBin = (step) => Math.min(5, Math.floor((6 * step) / (row.last + 1)));
const colour = (event) =>
  by === "step" ? `--s${stepBin(row.step[event])}` : `--p${bin(row.probability[event])}`;

function paint(position) {
  const cell = row.state[position];
  const span = text.children[position];
  const classes = [];
  if (cell.token === MASK) {
    classes.push("mask");
    if (cell.writes) classes.push(row.newest.has(position) ? "opened" : "lost");
    span.textContent = "";
  } else {
    span.textContent = tokenText(cell.token).replaceAll("\n", "↵\n") || "∅";
    if (cell.event >= 0) {
      classes.push("token");
      if (span.textContent.includes("\n")) classes.push("line");
      span.style.setProperty("--c", `var(${colour(cell.event)})`);
      if (row.newest.has(position)) classes.push("newest");
      if (cell.writes > 1) classes.push("again");
    } else classes.push(row.forcedSet.has(position) ? "forced" : "given");
    if (position >= row.end) classes.push("cut");
  }
  span.className = classes.join(" ");
}

function show(number) {
  stop();
  row = prepare(data.rows[number]);
  row.newest = new Set();
  frame = 0;
  shown = null;
  pinned = false;
  const cells = document.createDocumentFragment();
  row.start.forEach((_, position) => {
    const span = document.createElement("span");
    span.dataset.at = position;
    if (row.at[position].length) span.tabIndex = position === row.low ? 0 : -1;
    cells.append(span);
  });
  text.replaceChildren(cells);
  row.start.forEach((_, position) => paint(position));
  slider.max = row.frames.length;
  get("sign-opened").hidden = !row.opens;
  get("sign-again").hidden = !row.rewrites;
  get("sign-forced").hidden = !row.forced.length;
  get("sign-cut").hidden = row.end >= row.start.length;
  get("facts").replaceChildren(...row.facts.map(([name, value]) => pair(name, value)));
  detail.textContent = row.frames.length ? "Point at a token, or tap it, to see when it was written, and how probable it was." : "";
  map.setAttribute("aria-label", `Which step committed each of ${row.high - row.low + 1} positions`);
  lines();
  draw();
  scale();
  go(row.frames.length);
}

function pair(name, value) {
  const box = document.createElement("div");
  box.append(
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: value })
  );
  return box;
}

function status() {
  const bold = (value) => Object.assign(document.createElement("b"), { textContent: value });
  const left = row.left[frame];
  const where = frame
    ? ["step ", bold(row.frames[frame - 1].step + 1), ` of ${row.last + 1}`]
    : ["before the first step"];
  get("status").replaceChildren(...where, " · ", bold(left), left === 1 ? " mask left" : " masks left");
  slider.setAttribute("aria-valuetext", get("status").textContent);
  get("left-now").textContent = `${left} of ${row.left[0]}`;
  const mean = frame ? row.mean[frame - 1] : null;
  get("mean-now").textContent = mean === null ? "" : `of the step's tokens: ${mean.toFixed(2)}`;
}

function words(event) {
  const token = row.token[event];
  if (token === MASK) return `step ${row.step[event] + 1}: masked again`;
  return `step ${row.step[event] + 1}: ${quoted(token)} ${row.probability[event].toFixed(3)}`;
}

const quoted = (token) => `“${tokenText(token).replaceAll("\n", "↵")}”`;

// The detail line: what stands at a position, and buttons to the steps that wrote there.
function describe(position) {
  shown = position;
  const cell = row.state[position];
  const events = row.at[position];
  const name = document.createElement("b");
  let more;
  if (cell.token === MASK) {
    name.textContent = "mask";
    more = events.length ? "" : ", never written";
  } else {
    name.textContent = quoted(cell.token);
    more = ` (token ${data.tokens[cell.token][0]})`;
    if (cell.event >= 0) {
      more += `, probability ${row.probability[cell.event].toFixed(4)}, written in step ${row.step[cell.event] + 1}`;
    } else more += row.forcedSet.has(position) ? ", forced" : ", given";
  }
  const history = document.createElement("div");
  events.forEach((event) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: words(event) });
    button.addEventListener("click", () => go(row.frameOf[event]));
    history.append(button);
  });
  detail.replaceChildren(`position ${position}: `, name, more, history);
}

// ---------------------------------------------------------------- play and keys

function stop() {
  clearTimeout(timer);
  timer = null;
  get("play").classList.remove("playing");
  get("play").setAttribute("aria-label", "Play");
}

function play() {
  if (timer !== null) return stop();
  if (frame === row.frames.length) go(0);
  get("play").classList.add("playing");
  get("play").setAttribute("aria-label", "Pause");
  const tick = () => {
    go(frame + 1);
    if (frame === row.frames.length) stop();
    else timer = setTimeout(tick, Math.max(40, Math.min(600, 9000 / row.frames.length)) / get("speed").value);
  };
  timer = setTimeout(tick, 250);
}

function move(position) {
  if (position === undefined) return;
  text.querySelector('[tabindex="0"]').tabIndex = -1;
  text.children[position].tabIndex = 0;
  text.children[position].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select")) return;
  const inText = event.target.parentNode === text;
  const here = inText ? Number(event.target.dataset.at) : null;
  const open = (position) => row.at[position].length > 0;
  const positions = () => row.start.map((_, position) => position);
  const jumps = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: row.frames.length };
  if (event.key === " " && !event.target.matches("button")) play();
  else if (inText && event.key === "ArrowRight") move(positions().find((p) => p > here && open(p)));
  else if (inText && event.key === "ArrowLeft") move(positions().findLast((p) => p < here && open(p)));
  else if (inText && event.key === "Enter") go(row.frameOf[row.at[here].at(-1)]);
  else if (inText && event.key === "Escape") event.target.blur();
  else if (event.key in jumps && event.target !== slider) {
    stop();
    go(jumps[event.key]);
  } else return;
  event.preventDefault();
});
slider.addEventListener("input", () => {
  stop();
  go(Number(slider.value));
});
get("play").addEventListener("click", play);
get("row").addEventListener("change", () => show(Number(get("row").value)));
text.addEventListener("pointerover", (event) => {
  if (event.target.dataset.at && !pinned) describe(Number(event.target.dataset.at));
});
text.addEventListener("focusin", (event) => {
  pinned = true;
  describe(Number(event.target.dataset.at));
});
text.addEventListener("focusout", (event) => {
  pinned = detail.contains(event.relatedTarget);
});
get("by").addEventListener("click", (event) => {
  if (!event.target.dataset.by) return;
  by = event.target.dataset.by;
  get("by").querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.by === by));
  row.start.forEach((_, position) => paint(position));
  scale();
  draw();
});

get("settings").textContent = data.settings.map(([name, value]) => `${name} ${value}`).join(" · ");
get("called").hidden = !data.settings.length;
get("row").append(
  ...data.rows.map((r, i) => Object.assign(document.createElement("option"), { value: i, textContent: `${i + 1}: ${r.name}` }))
);
get("picker").hidden = data.rows.length < 2;

// page.html#row=2&step=9 opens there.
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const number = Math.max(1, Math.min(data.rows.length, Number(wanted.get("row")) || 1)) - 1;
  get("row").value = number;
  show(number);
  if (wanted.has("by")) get("by").querySelector(`[data-by="${wanted.get("by") === "step" ? "step" : "probability"}"]`).click();
  if (wanted.has("step")) go(row.frames.filter((f) => f.step < Number(wanted.get("step"))).length);
}
window.addEventListener("hashchange", fromAddress);
fromAddress();
listen();
