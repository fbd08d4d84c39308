import { button, el } from "./dom.js";

const MARKS = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
  "M-3.6,-3.6h7.2v7.2h-7.2z",
  "M0,-4.6L4.4,3.4H-4.4z",
  "M0,-5L4.6,0L0,5L-4.6,0z",
  "M-4.4,-3.4H4.4L0,4.6z",
];
const EDGE = { left: 46, right: 14, top: 12, bottom: 42 };
const HEIGHT = 320;
const ROUND = [-4, -3, -2, -1, 0, 1, 2, 3, 4].flatMap((power) => [1, 2, 5].map((n) => Number(`${n}e${power}`)));

/** Measured quality against cost: a line a sampler, both axes logarithmic, and the same as a table. */
export class Chart {
  #rows = [];
  #guidance = null;
  #width = 0;

  /** @param {HTMLElement} element @param {(row: any) => void} onpick Called with the row of the chosen point. */
  constructor(element, onpick) {
    this.element = element;
    this.onpick = onpick;
    this.plot = el("div", { className: "plot" });
    new ResizeObserver(() => this.#draw()).observe(this.plot);
  }

  /**
   * @param {any[]} rows Of the model's `quality`.
   * @param {number} guidance The one that is shown at first, if it was measured.
   */
  show(rows, guidance) {
    this.#rows = rows.filter((row) => row.comparable !== false && row.frechet > 0 && row.evaluations > 0);
    const measured = [...new Set(this.#rows.map((row) => row.guidance_scale))].sort((a, b) => a - b);
    this.#guidance = measured.includes(guidance) ? guidance : measured[0];
    this.element.hidden = this.#rows.length === 0;
    this.#compose(measured);
  }

  #chosen() {
    return this.#rows
      .filter((row) => row.guidance_scale === this.#guidance)
      .sort((a, b) => a.sampler.localeCompare(b.sampler) || a.evaluations - b.evaluations);
  }

  #samplers() {
    return [...new Set(this.#rows.map((row) => row.sampler))].sort();
  }

  #compose(measured) {
    const legend = el("ul", { className: "legend" });
    for (const [k, name] of this.#samplers().entries()) {
      const mark = svg("svg", { viewBox: "-6 -6 12 12", width: 14, height: 14, class: `s${k}`, "aria-hidden": true });
      mark.append(svg("path", { d: MARKS[k % MARKS.length], class: "mark" }));
      legend.append(el("li", {}, mark, name));
    }
    const choose = el("select", {}, ...measured.map((value) => el("option", { value }, String(value))));
    choose.value = this.#guidance;
    choose.onchange = () => {
      this.#guidance = Number(choose.value);
      this.#draw(true);
      this.#table();
    };
    const head = el("div", { className: "chart-head" }, legend);
    if (measured.length > 1) head.append(el("label", {}, "Guidance ", choose));
    this.numbers = el("details", { ontoggle: () => this.#table() }, el("summary", {}, "The same as a table"));
    this.element.replaceChildren(head, this.plot, this.numbers);
    this.#draw(true);
  }

  #table() {
    if (!this.numbers.open) return;
    const heads = ["sampler", "steps", "evaluations", "Fréchet distance", "pictures a second, now", ""];
    const table = el("table", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text))));
    for (const row of this.#chosen()) {
      const use = button("plain", "Use", () => this.onpick(row));
      use.setAttribute("aria-label", `Use ${row.sampler} with ${row.steps} steps`);
      const error = row.frechet_standard_error;
      const distance = row.frechet.toPrecision(3) + (error ? ` ± ${error.toPrecision(1)}` : "");
      const cells = [row.sampler, row.steps, row.evaluations, distance, row.images_per_s?.toPrecision(2) ?? "?"];
      table.append(el("tr", {}, ...cells.map((cell) => el("td", {}, String(cell))), el("td", {}, use)));
    }
    const frame = { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Measured quality" };
    this.numbers.replaceChildren(this.numbers.firstElementChild, el("div", frame, table));
  }

  #draw(anew = false) {
    const width = this.plot.clientWidth;
    const rows = this.#chosen();
    if (!width || !rows.length || (width === this.#width && !anew)) return;
    this.#width = width;
    const x = scale(rows.map((row) => row.evaluations), EDGE.left, width - EDGE.right);
    const y = scale(rows.map((row) => row.frechet), HEIGHT - EDGE.bottom, EDGE.top);
    const label = `Fréchet distance by evaluations of the network, guidance ${this.#guidance}; numbers in the table.`;
    const picture = svg("svg", { width, height: HEIGHT, role: "img", "aria-label": label });
    picture.append(...axes(x, y, width));
    for (const [k, name] of this.#samplers().entries()) {
      const own = rows.filter((row) => row.sampler === name);
      if (own.length) picture.append(this.#line(own, k, x, y));
    }
    this.plot.replaceChildren(picture);
  }

  #line(rows, k, x, y) {
    const group = svg("g", { class: `s${k}` });
    const at = rows.map((row) => [x.at(row.evaluations), y.at(row.frechet)]);
    const way = at.map((point) => point.map((v) => v.toFixed(1)).join(",")).join("L");
    group.append(svg("path", { d: `M${way}`, class: "line" }));
    for (const [i, row] of rows.entries()) {
      const [px, py] = at[i];
      const error = row.frechet_standard_error ?? 0;
      const [high, low] = [y.at(row.frechet + error), y.at(Math.max(y.least, row.frechet - error))];
      group.append(svg("path", { d: `M${px},${high}V${low}`, class: "spread" }));
      const mark = svg("g", { transform: `translate(${px},${py})`, class: "point" });
      const title = svg("title", {});
      title.textContent = `${row.sampler}, ${row.steps} steps: ${row.frechet.toPrecision(3)}`;
      const shape = svg("path", { d: MARKS[k % MARKS.length], class: "mark" });
      mark.append(svg("circle", { r: 13, class: "reach" }), shape, title);
      mark.addEventListener("click", () => this.onpick(row));
      group.append(mark);
    }
    return group;
  }
}

/** A logarithmic axis from one round number to another: where a value lies, and where lines are drawn. */
function scale(values, from, to) {
  const least = ROUND.findLast((round) => round <= Math.min(...values)) ?? ROUND[0];
  const most = ROUND.find((round) => round > least && round >= Math.max(...values)) ?? ROUND.at(-1);
  const ticks = ROUND.filter((round) => round >= least && round <= most);
  return { least, ticks, at: (value) => from + ((to - from) * Math.log(value / least)) / Math.log(most / least) };
}

function axes(x, y, width) {
  const bottom = HEIGHT - EDGE.bottom;
  const parts = [];
  for (const tick of y.ticks) {
    const at = y.at(tick);
    parts.push(svg("path", { d: `M${EDGE.left},${at}H${width - EDGE.right}`, class: "grid" }));
    parts.push(text(EDGE.left - 8, at + 4, tick, "end"));
  }
  for (const tick of x.ticks) {
    const at = x.at(tick);
    parts.push(svg("path", { d: `M${at},${EDGE.top}V${bottom}`, class: "grid" }));
    parts.push(text(at, bottom + 18, tick));
  }
  parts.push(text((EDGE.left + width - EDGE.right) / 2, HEIGHT - 6, "evaluations of the network"));
  const side = text(0, 0, "Fréchet distance, less is better");
  side.setAttribute("transform", `translate(12,${(EDGE.top + bottom) / 2}) rotate(-90)`);
  return [...parts, side];
}

function text(x, y, words, anchor = "middle") {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}
