/* Front end of RunsExplorer: recorded trainings by learning rate, with seeds as dots, and
   curves by step. */

const WIDTH = 400, HEIGHT = 250; // of the plot, in its own units
const LEFT = 46, WHOLE = LEFT + WIDTH + 10; // with the numbers at its edges
const COLUMNS = { accuracy: 2, loss: 3 }; // of a point: x, seed, accuracy, loss, diverged

/* What the points at x say: the mean over their seeds, null where nothing is known, and
   whether one diverged. */
function valueAt(points, x, measure) {
  const found = points.filter((point) => point[0] === x);
  const known = found.map((point) => point[COLUMNS[measure]]).filter((number) => number !== null);
  // Twelve digits: 0.0965 shall not become 0.09649999999999999, which is rounded down.
  const mean = known.length ? Number((known.reduce((a, b) => a + b) / known.length).toPrecision(12)) : null;
  return { mean, diverged: found.some((point) => point[4]) };
}

/* The xs of some series, each once, in order. */
const xsOf = (series) =>
  [...new Set(series.flatMap(({ points }) => points.map((point) => point[0])))].sort((a, b) => a - b);

/* Round steps that give some marks between two ends. */
function marksOf(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 6));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => (high - low) / s <= 6);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

const digitsOf = (step) => Math.max(0, Math.min(2, -Math.floor(Math.log10(step) + 1e-9)));
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;
const signed = (number, digits) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(digits);
const FORMS = {
  accuracy: { say: percent, apart: (number) => signed(100 * number, 1) },
  loss: { say: (number) => number.toFixed(3), apart: (number) => signed(number, 3) },
};
const write = (x) => String(Number(x.toPrecision(6)));

/* Shapes around a place; the sixth to tenth are the first five, hollow. */
const SHAPES = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z`,
  (x, y, r) => `M${x} ${y - 1.2 * r}l${1.2 * r} ${2.2 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x} ${y + 1.2 * r}l${1.2 * r} ${-2.2 * r}h${-2.4 * r}z`,
];
const CROSSES = [
  (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}m${-2 * r} 0l${2 * r} ${-2 * r}`,
  (x, y, r) => `M${x - 1.3 * r} ${y}h${2.6 * r}m${-1.3 * r} ${-1.3 * r}v${2.6 * r}`,
];
const shapeOf = (i) => (i % 12 < 10 ? SHAPES[i % 5] : CROSSES[i % 12 - 10]);

/* How each series looks: in a panel of rates its own mark and dashes, whatever the panel;
   by step one mark for a run, hollow and dashed for training. */
function looksOf(panels) {
  const looks = {};
  const names = [...new Set(panels.filter((panel) => panel.x !== "step").flatMap((panel) => panel.names))];
  names.forEach((name, i) => {
    const line = name === "whole model" ? "thick" : `dash${i % 5}`;
    looks[name] = { shape: shapeOf(i), style: `runs-${line}${i % 12 >= 5 ? " runs-hollow" : ""}` };
  });
  const curves = panels.filter((panel) => panel.x === "step").flatMap((panel) => panel.names);
  curves.forEach((name, i) => {
    looks[name] = { shape: SHAPES[Math.floor(i / 2) % 5], style: i % 2 ? "runs-thick" : "runs-dash1 runs-hollow" };
  });
  return looks;
}

/* Where a point stands. xs: all that the panel has; rates on a logarithmic axis. */
function frameOf(panel, xs, shown, measure, magnified) {
  const log = panel.x === "learning rate";
  const scale = log ? Math.log10 : (x) => x;
  const ends = log ? [scale(xs[0]) - 0.25, scale(xs.at(-1)) + 0.25] : [0, 1.03 * xs.at(-1)];
  const numbers = shown.flatMap(({ points }) => points.map((point) => point[COLUMNS[measure]])).filter((y) => y !== null);
  const [least, most] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
  let [low, high] = measure === "accuracy" ? [0, 1] : [0, 1.05 * most || 1];
  if (magnified) {
    [low, high] = measure === "accuracy" ? [Math.max(0, most - 0.14), most + 0.01] : [Math.max(0, least - 0.02), least + 0.48];
  }
  const px = (x) => ((scale(x) - ends[0]) / (ends[1] - ends[0] || 1)) * WIDTH;
  const py = (y) => Math.max(-HEIGHT, Math.min(2 * HEIGHT, (1 - (y - low) / (high - low)) * HEIGHT));
  const marks = log ? xs : marksOf(0, xs.at(-1));
  return { low, high, px, py, marks };
}

/* The first seed as a line with marks, other seeds as dots, a ring where the rate is best. */
function drawSeries({ points, best }, measure, { px, py }, shape, aside) {
  const known = points.filter((point) => point[COLUMNS[measure]] !== null);
  const first = Math.min(...points.map((point) => point[1]));
  const place = (point) => [Number((px(point[0]) + aside).toFixed(2)), Number(py(point[COLUMNS[measure]]).toFixed(2))];
  const line = known.filter((point) => point[1] === first).sort((a, b) => a[0] - b[0]);
  const marks = (some, r) => some.map((point) => shape(...place(point), r)).join("");
  return {
    line: line.map((point, i) => `${i ? "L" : "M"}${place(point).join(" ")}`).join(""),
    marks: marks(line, 4),
    others: marks(known.filter((point) => point[1] !== first), 3),
    ring: line.filter((point) => point[0] === best).map((point) => SHAPES[0](...place(point), 8)).join(""),
  };
}

function render({ model, el }) {
  const panels = Object.fromEntries(model.get("panels").map((panel) => [panel.name, panel]));
  const looks = looksOf(model.get("panels"));
  const live = makeLive();
  const choose = (values) => put(model, values);
  const hint = make("p", { class: "vit-hint" });
  const across = make("p", { class: "vit-hint runs-across" });

  const axes = draw("path", { class: "runs-axes" });
  const cursor = draw("path", { class: "runs-at" });
  const curves = draw("g");
  const inside = draw("svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` }, axes, cursor, curves);
  const labels = draw("g", { class: "runs-labels" });
  const svg = draw("svg", { viewBox: `${-LEFT} -10 ${WHOLE} ${HEIGHT + 32}`, role: "img" }, inside, labels);

  const setting = makeChoice("Setting", Object.keys(panels).map((name) => [name, name]), (name) => {
    const { at, shown } = panels[name];
    choose({ panel: name, at, shown });
  });
  const measure = makeChoice("Show", [["accuracy", "accuracy"], ["loss", "loss"]], (kind) => choose({ measure: kind }));
  const magnified = makeSwitch("magnified", (on) => choose({ magnified: on }));
  const slider = makeSlider("at", { min: 0, max: 1, step: 1 }, (i) => choose({ at: builtFor().xs[i] }));
  const keys = ["panel", "at", "shown", "measure", "magnified"];
  const [caption, head, body] = [make("caption"), make("tr"), make("tbody")];
  const table = make("table", {}, caption, make("thead", {}, head), body);
  const root = makeFigure(
    "runs-figure", "Recorded trainings",
    make(
      "div", { class: "vit-left" },
      makeControls(measure.element, magnified.element),
      make("div", { class: "vit-plot runs-plot" }, svg, across), hint,
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(setting.element, slider.element), table, live.element,
      makeControls(makeReset(model, keys)),
    ),
  );
  let built = null; // the panel, and what the table and the plot are made of
  let drawn = []; // what the curves were drawn from

  function builtFor() {
    const panel = panels[model.get("panel")];
    if (built?.panel !== panel) {
      const rows = panel.names.map((name) => {
        const box = make("input", { type: "checkbox", class: "vit-live-only" });
        box.addEventListener("change", () => {
          const shown = panel.names.filter((n) => (n === name ? box.checked : model.get("shown").includes(n)));
          choose({ shown });
        });
        const swatch = draw(
          "svg", { viewBox: "0 0 34 14", "aria-hidden": "true", class: looks[name].style },
          draw("path", { class: "runs-line", d: "M0 7H34" }),
          draw("path", { class: "runs-marks", d: looks[name].shape(17, 7, 4) }),
        );
        const cells = [0, 1].map((j) => make("td", { "data-value": `${name} ${j}` }));
        const title = make("th", { scope: "row" }, make("label", {}, box, swatch, make("span", {}, name)));
        return { name, box, cells, element: make("tr", {}, title, ...cells) };
      });
      body.replaceChildren(...rows.map((row) => row.element));
      built = { panel, rows, xs: xsOf(Object.values(panel.series)) };
    }
    return built;
  }

  function drawPlot(panel, xs, shown, kind, close) {
    const some = shown.map((name) => panel.series[name]);
    const frame = frameOf(panel, xs, some, kind, close);
    curves.replaceChildren(...shown.map((name, i) => {
      const aside = panel.x === "step" ? 0 : 9 * (i - (shown.length - 1) / 2);
      const paths = drawSeries(panel.series[name], kind, frame, looks[name].shape, aside);
      const path = (part) => draw("path", { class: `runs-${part}`, d: paths[part] });
      const parts = panel.x === "step" ? ["line", "others", "marks"] : ["line", "others", "marks", "ring"];
      return draw("g", { class: looks[name].style, "data-series": name }, ...parts.map(path));
    }));
    const ys = marksOf(frame.low, frame.high);
    axes.setAttribute("d", ys.map((y) => `M0 ${frame.py(y).toFixed(2)}H${WIDTH}`).join(""));
    const words = (x, y, text, anchor) => draw("text", { x: x.toFixed(2), y: y.toFixed(2), "text-anchor": anchor }, text);
    const digits = digitsOf(ys.length > 1 ? ys[1] - ys[0] : 1);
    labels.replaceChildren(
      ...frame.marks.map((x) => words(frame.px(x), HEIGHT + 18, write(x), "middle")),
      ...ys.map((y) => words(-6, frame.py(y) + 4, kind === "accuracy" ? percent(y, 0) : y.toFixed(digits), "end")),
    );
    across.textContent = panel.x === "step" ? "step" : "learning rate";
    const what = kind === "accuracy" ? "Accuracy" : "Loss";
    svg.setAttribute("aria-label", `${what} by ${panel.x}, ${panel.name}: ${shown.join("; ") || "nothing chosen"}`);
    return frame;
  }

  /* A number with, below it, how far it is from that of the whole model. */
  function fill(cell, { mean, diverged }, other, kind, note) {
    const { say, apart } = FORMS[kind];
    const words = mean === null ? (diverged ? "diverged" : "–") : say(mean);
    const far = mean === null || other === null ? "" : apart(mean - other);
    const more = [far, mean !== null && diverged ? "diverged" : "", note].filter(Boolean).join(" ");
    cell.replaceChildren(words, ...(more ? [make("small", {}, more)] : []));
    return [words, far];
  }

  let frame;
  function update() {
    const { panel, rows, xs } = builtFor();
    const [at, chosen, kind, close] = keys.slice(1).map((key) => model.get(key));
    const shown = panel.names.filter((name) => chosen.includes(name));
    const asked = [panel, chosen, kind, close];
    if (asked.some((value, i) => value !== drawn[i])) {
      frame = drawPlot(panel, xs, shown, kind, close);
      drawn = asked;
    }
    cursor.setAttribute("d", `M${frame.px(at).toFixed(2)} 0V${HEIGHT}`);
    const steps = panel.x === "step";
    const whole = steps ? undefined : panel.series["whole model"];
    const last = (points, x) => Math.max(...points.map((point) => point[0]).filter((step) => step <= x));
    const value = (series, x) =>
      (series ? valueAt(series.points, steps ? last(series.points, x) : x, kind) : { mean: null });
    const said = [];
    for (const { name, box, cells } of rows) {
      const series = panel.series[name];
      const against = name === "whole model" ? undefined : whole;
      const here = fill(cells[0], value(series, at), value(against, at).mean, kind);
      const note = `at ${write(series.best)}`;
      const best = fill(cells[1], value(series, series.best), value(against, against?.best).mean, kind, note);
      box.checked = shown.includes(name);
      const there = ([words, far]) => words + (far ? ` (${far})` : "");
      if (box.checked) said.push(`${name} ${there(here)}; ${steps ? "at the end" : "at its best rate"} ${there(best)}`);
    }
    const what = kind === "accuracy" ? "Accuracy" : steps ? "Loss" : "Training loss in the last epoch";
    const unit = kind === "accuracy" ? ", in points" : "";
    caption.textContent = `${what}, mean of the seeds.` + (whole ? ` Below: the distance from the whole model${unit}.` : "");
    head.replaceChildren(
      make("td"), make("th", { scope: "col" }, `${steps ? "by step" : "at"} ${write(at)}`),
      make("th", { scope: "col" }, steps ? "at the end" : "at its best rate"),
    );
    hint.textContent = steps
      ? "Lines: the first seed of a run; small marks: others. Training: while the model learns, on images that the recipe varies. Validation: after each epoch, on unchanged ones."
        + (kind === "loss" ? " The training loss includes label smoothing, where a run has it." : "")
      : "Lines: the first seed; small marks: other seeds. Ringed: the version’s best rate, chosen with the first seed on images not counted here.";
    setting.show(panel.name);
    measure.show(kind);
    magnified.show(close);
    slider.input.setAttribute("max", xs.length - 1);
    slider.show(xs.indexOf(at), `${panel.x} ${write(at)}`);
    live.say(`${panel.name}, ${panel.x} ${write(at)}, ${kind}: ${said.join(". ") || "nothing chosen"}.`);
  }

  const move = (event) => {
    const x = placeOn(svg, event)[0] * WHOLE - LEFT;
    const { xs } = builtFor();
    const far = (i) => Math.abs(frame.px(xs[i]) - x);
    choose({ at: xs[xs.reduce((nearest, _, i) => (far(i) < far(nearest) ? i : nearest), 0)] });
  };
  onTouch(svg, move);
  el.append(root);
  return follow(model, keys, update);
}

export { valueAt };
export default { render };
