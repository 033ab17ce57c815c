// The pictures of a trace page: the map of what was committed where and when, and two lines over the steps. Reads the
// row, the frame and the colours of page.js.
"use strict";

const AXES = "position → · step ↓";
let picture = null; // the map without its cursor
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const EDGE = { left: 34, bottom: 20, top: 4, right: 2 };

function layout() {
  const width = map.clientWidth;
  const height = Math.max(110, Math.min(320, (row.last + 1) * 7)) + EDGE.top + EDGE.bottom;
  const columns = row.high - row.low + 1;
  return {
    width,
    height,
    x: (position) => EDGE.left + ((position - row.low) / columns) * (width - EDGE.left - EDGE.right),
    y: (step) => EDGE.top + (step / (row.last + 1)) * (height - EDGE.top - EDGE.bottom),
    cell: (width - EDGE.left - EDGE.right) / columns,
    line: (height - EDGE.top - EDGE.bottom) / (row.last + 1),
  };
}

function draw() {
  const { width, height, x, y, cell, line } = layout();
  const ratio = window.devicePixelRatio || 1;
  picture = document.createElement("canvas");
  for (const canvas of [picture, map]) {
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.round(height * ratio);
  }
  map.style.height = `${height}px`;
  const pen = picture.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = style("--ground");
  pen.fillRect(x(row.low), y(0), x(row.high + 1) - x(row.low), y(row.last + 1) - y(0));
  const colours = Object.fromEntries([0, 1, 2, 3, 4, 5].flatMap((i) => [`--s${i}`, `--p${i}`]).map((n) => [n, style(n)]));
  const gap = cell > 5 && line > 5 ? 1 : 0;
  const [wide, high] = [Math.max(cell - gap, 1), Math.max(line - gap, 1.5)];
  pen.strokeStyle = style("--ink");
  const stays = until();
  row.step.forEach((step, event) => {
    const [left, top] = [x(row.position[event]), y(step)];
    if (row.token[event] !== MASK) {
      pen.globalAlpha = 0.2; // how long the token stood
      pen.fillStyle = colours[colour(event)];
      pen.fillRect(left, top, wide, y(stays[event]) - top);
      pen.globalAlpha = 1;
    }
  });
  row.step.forEach((step, event) => {
    const [left, top] = [x(row.position[event]), y(step)];
    if (row.token[event] === MASK) {
      pen.strokeRect(left + 0.5, top + 0.5, Math.max(wide - 1, 1), Math.max(high - 1, 1));
    } else {
      pen.fillStyle = colours[colour(event)];
      pen.fillRect(left, top, wide, high);
    }
  });
  pen.fillStyle = style("--soft");
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "top";
  pen.textAlign = "right";
  pen.fillText("1", EDGE.left - 6, y(0));
  if (row.last) {
    pen.textBaseline = "bottom";
    pen.fillText(row.last + 1, EDGE.left - 6, y(row.last + 1));
  }
  pen.textBaseline = "top";
  pen.textAlign = "left";
  pen.fillText(row.low, x(row.low), y(row.last + 1) + 4);
  pen.textAlign = "right";
  pen.fillText(row.high, x(row.high + 1), y(row.last + 1) + 4);
  cursor();
}

// The step at which each event's token gave way, or the end.
function until() {
  const found = new Array(row.step.length).fill(row.last + 1);
  for (const events of row.at) events.slice(1).forEach((event, i) => (found[events[i]] = row.step[event]));
  return found;
}

function cursor() {
  if (!picture) return;
  const { x, y } = layout();
  const ratio = window.devicePixelRatio || 1;
  const pen = map.getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, map.width, map.height);
  pen.drawImage(picture, 0, 0);
  pen.scale(ratio, ratio);
  const now = frame ? row.frames[frame - 1].step + 1 : 0;
  if (now <= row.last) {
    pen.globalAlpha = 0.72; // what is still to come is faint
    pen.fillStyle = style("--paper");
    pen.fillRect(x(row.low), y(now), x(row.high + 1) - x(row.low), y(row.last + 1) - y(now));
    pen.globalAlpha = 1;
  }
  pen.fillStyle = style("--ink");
  pen.fillRect(x(row.low), y(now) - 0.75, x(row.high + 1) - x(row.low), 1.5);
  document.querySelectorAll(".now").forEach((line) => line.setAttribute("d", `M${share(now)} 0V100`));
}

const share = (step) => (100 * step) / (row.last + 1);

// Staircases over the steps: what a value was since the step before.
function lines() {
  const top = Math.max(1, ...row.left);
  let path = `M0 ${100 - (100 * row.left[0]) / top}`;
  row.frames.forEach(({ step }, f) => (path += `H${share(step + 1)}V${100 - (100 * row.left[f + 1]) / top}`));
  plot("left", `${path}H100`, `${path}H100V100H0Z`);
  let mean = "";
  let area = "";
  let from = 0;
  row.frames.forEach(({ step }, f) => {
    const to = share(step + 1);
    if (row.mean[f] !== null) {
      const height = 100 - 100 * row.mean[f];
      mean += `${mean ? "L" : "M"}${from} ${height}H${to}`;
      area += `M${from} 100V${height}H${to}V100Z`;
    }
    from = to;
  });
  plot("mean", mean, area);
}

function plot(id, line, area) {
  const svg = get(id);
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(
    ...[["area", area], ["", line], ["now", ""]].map(([name, d]) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", name);
      path.setAttribute("d", d);
      return path;
    })
  );
}

function scale() {
  const labels =
    by === "step"
      ? [0, 1, 2, 3, 4, 5].map((i) => `${Math.ceil((i * (row.last + 1)) / 6) + 1}–`)
      : ["0–", ".1–", ".3–", ".5–", ".7–", ".9–1"];
  get("scale").replaceChildren(
    ...labels.map((label, i) => {
      const swatch = Object.assign(document.createElement("span"), { className: "token", textContent: label });
      swatch.style.setProperty("--c", `var(--${by === "step" ? "s" : "p"}${i})`);
      return swatch;
    })
  );
}

// The event under the pointer: of the position's, the one whose step is nearest.
function pointed(event) {
  const box = map.getBoundingClientRect();
  const { cell, line } = layout();
  const position = row.low + Math.floor((event.clientX - box.left - EDGE.left) / cell);
  const step = (event.clientY - box.top - EDGE.top) / line - 0.5;
  const events = row.at[position] || [];
  const near = (a, b) => (Math.abs(row.step[a] - step) <= Math.abs(row.step[b] - step) ? a : b);
  return { position, step, event: events.length ? events.reduce(near) : null };
}

// Called once by page.js, which knows the map.
function listen() {
  map.addEventListener("pointermove", (event) => {
    const found = pointed(event);
    get("map-now").textContent = found.event === null ? AXES : `position ${found.position}, ${words(found.event)}`;
  });
  map.addEventListener("pointerleave", () => (get("map-now").textContent = AXES));
  map.addEventListener("click", (event) => {
    const { step } = pointed(event);
    stop();
    go(row.frames.filter((f) => f.step <= step + 0.5).length);
  });
  for (const svg of document.querySelectorAll(".line")) {
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const step = ((event.clientX - box.left) / box.width) * (row.last + 1);
      stop();
      go(row.frames.filter((f) => f.step < step).length);
    });
  }
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(map.parentNode);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
