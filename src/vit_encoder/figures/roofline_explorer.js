/* Front end of RooflineExplorer: the operations of a block under the roof of a machine. */

const WIDTH = 400, HEIGHT = 300; // of the plot, in its own units
const LEFT = 44, WHOLE = LEFT + WIDTH + 6; // with the numbers at its edges
const INTENSITY = [-1.5, 4.9], SPEED = [8.5, 15.9]; // the ends of the axes, as powers of ten
const BLOCKS = 12; // of a ViT-Ti, -S or -B

/* What the sliders offer; Python may choose others. N: s × s patches and a class token. */
const POWERS = Array.from({ length: 13 }, (_, i) => 2 ** i);
const TOKENS = [4, 7, 10, 14, 16, 24, 32, 37, 48, 64, 96, 128].map((s) => s * s + 1);
const DIMS = [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64].map((heads) => 64 * heads);
const nearest = (list, x) => list.reduce((best, y, i) =>
  (Math.abs(Math.log(y / x)) < Math.abs(Math.log(list[best] / x)) ? i : best), 0);

/* A sum of products, such as "B N D + B T D", with like ones together: pairs of factors
   and how often. rename: what stands for a factor. */
function termsOf(text, rename) {
  const found = new Map();
  for (const term of text.split(" + ").filter(Boolean)) {
    const factors = term.split(" ").map((factor) => rename[factor] ?? factor);
    const times = factors.map(Number).filter((x) => !Number.isNaN(x)).reduce((a, b) => a * b, 1);
    const symbols = factors.filter((factor) => Number.isNaN(Number(factor))).join(" ");
    found.set(symbols, (found.get(symbols) ?? 0) + times);
  }
  return [...found];
}
const amount = (text, sizes) => termsOf(text, sizes).reduce((sum, [, times]) => sum + times, 0);

/* The same as a reader writes it: 6BND². */
const written = (text, last) =>
  termsOf(text, { T: last ? "1" : "N" }).map(([symbols, times]) => {
    const powers = symbols.split(" ").reduce((so, s) => (so.endsWith(s) ? `${so}²` : so + s), "");
    return (times === 1 ? "" : times) + powers;
  }).join(" + ");

/* What each operation of a block takes on a machine. setting: the keys of the model.
   [{ name, family, flops, weights, others (bytes), intensity, arithmetic, memory, time
   (seconds), speed }, …] */
const BYTES = { "fp32": [4, 4], "bf16": [2, 2], "int8 weights": [1, 2] }; // of a weight, of others
const UNFUSED = ["scores", "softmax", "weighted sum"];
function costsOf(setting) {
  const { operations, batch: B, tokens: N, dim: D, fused, last } = setting;
  const sizes = { B, N, D, T: last ? 1 : N, M: 4 * D, h: D / 64 };
  const [ofWeight, ofOther] = BYTES[setting.precision];
  const fusedOne = operations.at(-1);
  const kept = operations.slice(0, -1).flatMap((operation) => {
    if (!fused || !UNFUSED.includes(operation[0])) return [operation];
    return operation[0] === UNFUSED[0] ? [fusedOne] : [];
  });
  return kept.map((formulas) => {
    const [name, family, ...rest] = formulas;
    const [flops, weights, others] = rest.map((text, i) => [1, ofWeight, ofOther][i] * amount(text, sizes));
    const intensity = flops / (weights + others);
    const arithmetic = flops / (1e12 * setting.peak);
    const memory = (weights + others) / (1e9 * setting.bandwidth);
    const time = Math.max(arithmetic, memory);
    return { name, family, formulas: rest, flops, weights, others, intensity, arithmetic, memory, time, speed: flops / time };
  });
}

/* What all operations of a block come to. products: FLOPs of matrix products. */
function blockOf(setting) {
  const costs = costsOf(setting);
  const sum = (of) => costs.reduce((total, cost) => total + of(cost), 0);
  const time = sum((cost) => cost.time);
  const { tokens: N, dim: D, batch: B, last } = setting;
  const T = last ? 1 : N;
  const products = B * D * (6 * N * D + 18 * T * D + 4 * T * N);
  return {
    costs, time, products,
    waiting: sum((cost) => (cost.memory > cost.arithmetic ? cost.time : 0)) / time, // for memory
    ofPeak: products / (time * 1e12 * setting.peak),
  };
}

/* Images a second through twelve blocks; where last, only the last is such a one. */
function imagesOf(setting) {
  const { time } = blockOf(setting);
  const others = setting.last ? blockOf({ ...setting, last: false }).time : time;
  return setting.batch / ((BLOCKS - 1) * others + time);
}

/* Three digits and a prefix: 6.97 G. */
function withPrefix(x, unit) {
  const power = x > 0 ? Math.max(-4, Math.min(5, Math.floor(Math.log10(Number(x.toPrecision(3))) / 3))) : 0;
  const number = Number((x / 1000 ** power).toPrecision(3));
  const prefix = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P"][power + 4];
  return `${number}\u00a0${prefix}${unit}`;
}
const rounded = (x) => (x < 999.5 ? String(Number(x.toPrecision(3))) : spaced(Math.round(Number(x.toPrecision(3)))));
const percent = (share) => share < 0.0005 ? "<\u00a00.1\u00a0%" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}\u00a0%`;

const px = (intensity) => (WIDTH * (Math.log10(intensity) - INTENSITY[0])) / (INTENSITY[1] - INTENSITY[0]);
const py = (speed) => HEIGHT * (1 - (Math.log10(speed) - SPEED[0]) / (SPEED[1] - SPEED[0]));
const circle = (x, y, r) =>
  `M${(x - r).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
const classOf = (cost) => `roof-mark roof-${cost.family || "plain"}${cost.memory > cost.arithmetic ? " roof-hollow" : ""}`;

/* Words beside marks, below the roof: from the right, each as high as there is room. Marks
   at one place share one. [{ names, x, y, at }, …] */
function labelsOf(costs) {
  const groups = [];
  for (const cost of costs) {
    const [x, y] = [px(cost.intensity), py(cost.speed)];
    const same = groups.find((group) => Math.abs(group.x - x) < 1);
    if (same) same.names.push(cost.name);
    else groups.push({ names: [cost.name], x, y });
  }
  groups.sort((a, b) => b.x - a.x);
  const placed = [];
  for (const group of groups) {
    const width = 6.6 * group.names.join(", ").length + 8;
    let at = group.y + 16;
    for (const other of [...placed].sort((a, b) => a.at - b.at)) {
      const apart = group.x + width < other.x || other.x + other.width < group.x;
      if (!apart && Math.abs(at - other.at) < 14) at = other.at + 14;
    }
    placed.push({ ...group, width, at });
  }
  return placed;
}

function makePlot() {
  const powers = ([low, high]) =>
    Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
  const text = (x, y, words, anchor = "start") => draw("text", { x, y, "text-anchor": anchor }, words);
  const xs = powers(INTENSITY), ys = powers(SPEED);
  const grid = xs.map((x) => `M${px(10 ** x).toFixed(1)} 0V${HEIGHT}`).join("")
    + ys.map((y) => `M0 ${py(10 ** y).toFixed(1)}H${WIDTH}`).join("");
  const edge = draw(
    "g", { class: "roof-labels" },
    ...xs.map((x) => text(px(10 ** x).toFixed(1), HEIGHT + 17, x < 4 ? String(10 ** x) : spaced(10 ** x), "middle")),
    ...ys.map((y) => text(-6, (py(10 ** y) + 4).toFixed(1), withPrefix(10 ** y, ""), "end")),
    text(WIDTH, HEIGHT + 34, "intensity, FLOP per byte", "end"),
    text(-LEFT, -10, "FLOP per second"),
  );
  const [ridge, roof, ring] = ["ridge", "roof", "ring"].map((name) => draw("path", { class: `roof-${name}` }));
  const chosen = draw("path");
  const [stems, marks, names, said] = [0, 0, 0, 0].map(() => draw("g"));
  names.setAttribute("class", "roof-labels roof-names");
  said.setAttribute("class", "roof-labels roof-said");
  const inside = draw(
    "svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` },
    draw("path", { class: "roof-grid", d: grid }), ridge, stems, roof, marks, ring, chosen,
  );
  const svg = draw("svg", { viewBox: `${-LEFT} -24 ${WHOLE} ${HEIGHT + 62}`, role: "img" }, inside, edge, said, names);
  const slope = (Math.atan2(py(1) - py(10), px(10) - px(1)) * 180) / Math.PI;

  function show({ costs }, { peak, bandwidth }) {
    const [P, W] = [1e12 * peak, 1e9 * bandwidth];
    const [x, y] = [px(P / W), py(P)];
    const start = py(W * 10 ** INTENSITY[0]);
    roof.setAttribute("d", `M0 ${start.toFixed(1)}L${x.toFixed(1)} ${y.toFixed(1)}H${WIDTH}`);
    ridge.setAttribute("d", `M${x.toFixed(1)} 0V${HEIGHT}`);
    const middle = [x / 2, (start + y) / 2 - 11];
    const along = text(...middle, withPrefix(W, "B/s"), "middle");
    along.setAttribute("transform", `rotate(${-slope.toFixed(1)} ${middle.map((z) => z.toFixed(1)).join(" ")})`);
    const row = y > 40 ? 12 : HEIGHT - 6; // where the roof leaves room
    said.replaceChildren(
      along, text(WIDTH - 4, y - 7, withPrefix(P, "FLOP/s"), "end"),
      text(x - 6, row, `memory binds below ${rounded(P / W)}`, "end"),
      text(x + 6, row, "arithmetic above"),
    );
    const labels = labelsOf(costs);
    stems.replaceChildren(...labels.map((label) =>
      draw("path", { class: "roof-stem", d: `M${label.x.toFixed(1)} ${label.y.toFixed(1)}V${(label.at - 4).toFixed(1)}h4` })));
    names.replaceChildren(...labels.map((label) => text((label.x + 6).toFixed(1), label.at.toFixed(1), label.names.join(", "))));
    marks.replaceChildren(...costs.map((cost) =>
      draw("path", { class: classOf(cost), d: circle(px(cost.intensity), py(cost.speed), 4.5) })));
  }

  function point(cost) { // it lies above those at the same place
    const at = [px(cost.intensity), py(cost.speed)];
    ring.setAttribute("d", circle(...at, 8.5));
    chosen.setAttribute("d", circle(...at, 4.5));
    chosen.setAttribute("class", classOf(cost));
  }
  return { svg, show, point };
}

/* A row for each operation, of which one is chosen: its mark, its name, the least time. */
function makeRows(names, choose) {
  const group = `roof-${Math.random().toString(36).slice(2)}`;
  const rows = Object.fromEntries(names.map((name) => {
    const input = make("input", { type: "radio", name: group, value: name, class: "vit-live-only" });
    input.addEventListener("change", () => choose(name));
    const mark = draw("path", { d: circle(6, 6, 4.5) });
    const swatch = draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, mark);
    const bar = make("i");
    const says = make("span", { "data-value": `${name} share` });
    const track = make("span", { class: "roof-track", "aria-hidden": "true" }, bar);
    const element = make("label", {}, input, swatch, make("b", {}, name), track, says);
    return [name, { element, input, mark, bar, says }];
  }));
  const element = make("div", { class: "roof-rows", role: "radiogroup", "aria-label": "Operation" });
  return {
    element,
    show({ costs, time }) {
      const most = Math.max(...costs.map((cost) => cost.time));
      const shown = costs.map((cost) => {
        const { element: row, mark, bar, says } = rows[cost.name];
        mark.setAttribute("class", classOf(cost));
        bar.className = classOf(cost);
        bar.style.width = `${((100 * cost.time) / most).toFixed(2)}%`;
        says.textContent = percent(cost.time / time);
        return row;
      });
      if (shown.length !== element.children.length || shown.some((row, i) => row !== element.children[i])) {
        element.replaceChildren(...shown);
      }
    },
    point(name) {
      for (const [other, row] of Object.entries(rows)) {
        row.input.checked = other === name;
        row.element.className = other === name ? "roof-now" : "";
      }
    },
  };
}

function render({ model, el }) {
  const machines = model.get("machines"), operations = model.get("operations");
  const choose = (values) => put(model, values);
  const live = makeLive();
  const plot = makePlot();
  const rows = makeRows(operations.map(([name]) => name), (operation) => choose({ operation }));

  const peakOf = ([, , fp32, half], precision) => (precision === "fp32" ? fp32 : half);
  const isOn = (machine) => machine[1] === model.get("bandwidth") && peakOf(machine, model.get("precision")) === model.get("peak");
  const among = (words, list, key) =>
    makeSlider(words, { min: 0, max: list.length - 1, step: 1 }, (i) => choose({ [key]: list[i] }));
  const batch = among("batch, B =", POWERS, "batch");
  const tokens = among("tokens, N =", TOKENS, "tokens");
  const dim = among("width, D =", DIMS, "dim");
  const fused = makeSwitch("fused attention", (on) => choose({ fused: on }));
  const last = makeSwitch("last block, class token alone", (on) => choose({ last: on }));
  const precision = makeChoice("Precision", [["fp32", "fp32"], ["bf16", "16 bits"], ["int8 weights", "int8 weights"]], (chosen) => {
    const machine = machines.find(isOn); // with another precision it has another peak
    choose({ precision: chosen, ...(machine ? { peak: peakOf(machine, chosen) } : {}) });
  });
  const machine = makeChoice("Machine", machines.map(([name]) => [name, name]), (chosen) => {
    const found = machines.find(([name]) => name === chosen);
    choose({ bandwidth: found[1], peak: peakOf(found, model.get("precision")) });
  });
  const power = (words, key, low, high) => // a slider of powers of ten, with three digits
    makeSlider(words, { min: Math.log10(low), max: Math.log10(high), step: 0.01 }, (x) =>
      choose({ [key]: Number(Math.max(low, Math.min(high, 10 ** x)).toPrecision(3)) }));
  const peak = power("peak", "peak", 0.1, 3000);
  const bandwidth = power("bandwidth", "bandwidth", 20, 10000);
  const keys = ["batch", "tokens", "dim", "precision", "fused", "last", "peak", "bandwidth", "operation"];
  const one = makeReadout({
    flops: "FLOPs", weights: "Weights", others: "Inputs, output", intensity: "FLOP per byte",
    arithmetic: "Arithmetic takes", memory: "Memory takes",
  });
  const least = make("span", { "data-value": "time" });
  const whole = makeReadout({ waiting: "Bound by memory", ofPeak: "Share of the peak", images: "12 blocks" });
  const title = make("p", { class: "roof-title" });
  const heading = make("p", { class: "roof-title" }, "Least time of each operation");

  const sizes = makeControls(batch.element, tokens.element, dim.element, fused.element);
  const speeds = makeControls(peak.element, bandwidth.element, makeReset(model, keys));
  for (const pairs of [sizes, speeds]) pairs.classList.add("roof-pairs");
  const root = makeFigure(
    "roof-figure", "Roofline of an encoder block",
    make(
      "div", {}, make("div", { class: "vit-plot roof-plot" }, plot.svg),
      make("p", { class: "roof-title" }, "The block takes at least ", least),
      make("p", { class: "vit-hint" }, "No operation can be above the line. Filled: its arithmetic takes longer. Hollow: its trips to memory do."),
      makeControls(make("p", { class: "vit-hint" }, "Touch a mark or a row.")),
    ),
    make(
      "div", { class: "roof-controls" },
      sizes, makeControls(last.element), makeControls(precision.element),
      makeControls(machine.element), speeds,
    ),
    make("div", {}, heading, rows.element, whole.element),
    make(
      "div", {}, title, one.element, live.element,
      make(
        "details", { class: "vit-hint" }, make("summary", {}, "What is assumed"),
        make("p", {}, "Operations follow one another, and to start one costs nothing. Each, LayerNorm and GELU too, reads its inputs and weights once and writes its output once; nothing stays in a cache between two. Heads are 64 wide, the MLP 4D."),
        make("p", {}, "Peaks and bandwidths are those that NVIDIA states, without sparsity or TF32, with one peak for all FLOPs; the laptop is an example. 16 bits are bf16, on the T4 fp16; weights in int8 are multiplied in 16 bits. The share of the peak counts matrix products alone."),
      ),
    ),
  );

  let drawn = ""; // what the plot was drawn from
  let block;
  const chosenOf = (name) => block.costs.find((cost) => cost.name === name)
    ?? block.costs.find((cost) => cost.family === "attention"); // one of three, or the three as one
  function update() {
    const setting = Object.fromEntries(keys.map((key) => [key, model.get(key)]));
    const { operation, ...rest } = setting;
    const asked = JSON.stringify(rest);
    if (asked !== drawn) {
      const whereAt = { ...setting, operations };
      block = blockOf(whereAt);
      plot.show(block, setting);
      rows.show(block);
      batch.show(nearest(POWERS, setting.batch), spaced(setting.batch));
      tokens.show(nearest(TOKENS, setting.tokens), spaced(setting.tokens));
      dim.show(nearest(DIMS, setting.dim), spaced(setting.dim));
      fused.show(setting.fused);
      last.show(setting.last);
      precision.show(setting.precision);
      machine.show(machines.find(isOn)?.[0] ?? "");
      peak.show(Math.log10(setting.peak), withPrefix(1e12 * setting.peak, "FLOP/s"));
      bandwidth.show(Math.log10(setting.bandwidth), withPrefix(1e9 * setting.bandwidth, "B/s"));
      const { values } = whole;
      least.textContent = withPrefix(block.time, "s");
      values.waiting.textContent = `${percent(block.waiting)} of this time`;
      values.ofPeak.textContent = `at most ${percent(block.ofPeak)}`;
      values.images.textContent = `at most ${rounded(imagesOf(whereAt))} images a second`;
      const bound = (hollow) => block.costs.filter((cost) => (cost.memory > cost.arithmetic) === hollow).map((cost) => cost.name).join(", ") || "none";
      plot.svg.setAttribute("aria-label", `Speed by intensity, under a roof of ${withPrefix(1e9 * setting.bandwidth, "B/s")} and ${withPrefix(1e12 * setting.peak, "FLOP/s")}. Bound by memory: ${bound(true)}. By arithmetic: ${bound(false)}.`);
      drawn = asked;
    }
    const cost = chosenOf(operation);
    plot.point(cost);
    rows.point(cost.name);
    const { values } = one;
    const formula = (i, x, unit) => (cost.formulas[i] ? `${written(cost.formulas[i], setting.last)} = ${withPrefix(x, unit)}` : "none");
    const bytes = (i, x) => (cost.formulas[i] ? `${written(cost.formulas[i], setting.last)} numbers, ${withPrefix(x, "B")}` : "none");
    title.textContent = `${cost.name}, ${percent(cost.time / block.time)} of the block’s least time`;
    values.flops.textContent = formula(0, cost.flops, "");
    values.weights.textContent = bytes(1, cost.weights);
    values.others.textContent = bytes(2, cost.others);
    values.intensity.textContent = rounded(cost.intensity);
    const binding = cost.memory > cost.arithmetic ? "memory" : "arithmetic";
    for (const floor of ["arithmetic", "memory"]) {
      values[floor].textContent = withPrefix(cost[floor], "s") + (floor === binding ? ", the longer" : "");
    }
    live.say(`${title.textContent}: ${rounded(cost.intensity)} FLOP per byte, bound by ${binding}. The block takes at least ${withPrefix(block.time, "s")}, ${percent(block.ofPeak)} of the peak.`);
  }

  const touch = (event) => {
    const x = placeOn(plot.svg, event)[0] * WHOLE - LEFT;
    const far = (cost) => Math.abs(px(cost.intensity) - x);
    choose({ operation: block.costs.reduce((best, cost) => (far(cost) < far(best) ? cost : best)).name });
  };
  onTouch(plot.svg, touch);
  el.append(root);
  return follow(model, keys, update);
}

export { amount, blockOf, costsOf, imagesOf, written };
export default { render };
