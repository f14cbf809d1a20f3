/* Front end of ActivationExplorer: five activation functions at a number that the reader
   moves, and dropout thrown on what GELU gives. */

/* erf x = 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms have one sign, so that
   no digits are lost. */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/* x times a gate: from the gate and its slope, the value and the slope. */
const gated = (gate) => (x) => {
  const [open, slope] = gate(x);
  return [x * open, open + x * slope];
};
const logistic = (x) => 1 / (1 + Math.exp(-x));
const C = Math.sqrt(2 / Math.PI);

/* name → from x to [value, slope] */
const FUNCTIONS = {
  "ReLU": gated((x) => [x > 0 ? 1 : 0, 0]),
  "GELU": gated((x) => [
    0.5 * (1 + erf(x / Math.SQRT2)), Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI),
  ]),
  "GELU (tanh)": gated((x) => {
    const t = Math.tanh(C * (x + 0.044715 * x ** 3));
    return [0.5 * (1 + t), 0.5 * (1 - t * t) * C * (1 + 3 * 0.044715 * x * x)];
  }),
  "QuickGELU": gated((x) => {
    const s = logistic(1.702 * x);
    return [s, 1.702 * s * (1 - s)];
  }),
  "SiLU": gated((x) => [logistic(x), logistic(x) * (1 - logistic(x))]),
};
const NAMES = Object.keys(FUNCTIONS);
const gelu = (x) => FUNCTIONS.GELU(x)[0];

/* What each view shows of a function at x. */
const VIEWS = {
  values: (name, x) => FUNCTIONS[name](x)[0],
  slopes: (name, x) => FUNCTIONS[name](x)[1],
  differences: (name, x) => FUNCTIONS[name](x)[0] - gelu(x),
};

/* Dropout thrown `times` times on GELU of each number: what the last throw gives, how
   often each was kept, and the mean of all throws. before: an earlier call's answer. */
function throwDropout(numbers, p, times, before = null, random = Math.random) {
  const values = numbers.map((x) => gelu(x) / (1 - p)); // of what is kept
  const kept = before ? [...before.kept] : values.map(() => 0);
  let last;
  for (let t = 0; t < times; t++) {
    last = values.map((value, i) => {
      if (random() < p) return 0;
      kept[i] += 1;
      return value;
    });
  }
  const throws = (before?.throws ?? 0) + times;
  return { numbers, p, throws, last, kept, mean: values.map((v, i) => (v * kept[i]) / throws) };
}

const WIDTH = 400, HEIGHT = 250; // of the plot, in its own units
const LEFT = 38, WHOLE = LEFT + WIDTH + 8; // with the numbers at its edges

function makePlot() {
  const axes = draw("path", { class: "act-axes" });
  const curves = Object.fromEntries(
    NAMES.map((name, i) => [name, draw("path", { class: `act-curve act-${i}` })]),
  );
  const at = draw("path", { class: "act-at" });
  const means = draw("path", { class: "act-means" });
  const last = draw("path", { class: "act-last" });
  const own = draw("path", { class: "act-own" });
  const inside = draw(
    "svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` },
    axes, ...Object.values(curves), own, last, means, at,
  );
  const labels = draw("g", { class: "act-labels" });
  const svg = draw(
    "svg", { viewBox: `${-LEFT} -10 ${WHOLE} ${HEIGHT + 32}`, role: "img" }, inside, labels,
  );
  return { svg, axes, curves, at, means, last, own, labels };
}

/* Round steps that give four to nine marks between two ends. */
function marksOf(low, high) {
  const rough = (high - low) / 8;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/* The table of numbers at x; a box shows or hides a curve. */
function makeTable(caption, choose) {
  const cells = {}, boxes = {};
  const rows = NAMES.map((name, i) => {
    boxes[name] = make("input", { type: "checkbox", class: "vit-live-only" });
    boxes[name].addEventListener("change", () => choose(name, boxes[name].checked));
    const line = draw("path", { class: `act-curve act-${i}`, d: "M0 5H30" });
    const swatch = draw("svg", { viewBox: "0 0 30 10", "aria-hidden": "true" }, line);
    cells[name] = [0, 1, 2].map((j) => make("td", { "data-value": `${name} ${j}` }));
    return make(
      "tr", {}, make("th", { scope: "row" }, make("label", {}, boxes[name], swatch, name)),
      ...cells[name],
    );
  });
  const heads = ["value", "slope", "minus GELU, ×\u00a01000"];
  const head = make("tr", {}, make("td"), ...heads.map((text) => make("th", { scope: "col" }, text)));
  const element = make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
  return { element, cells, boxes };
}

/* Numbers as a reader writes them; null if there is none, something else or one for which
   the axis has no room. */
function readNumbers(text) {
  const numbers = text.replace(/−/g, "-").split(/[\s,;[\]()]+/).filter(Boolean).map(Number);
  return numbers.length && numbers.every((x) => Math.abs(x) <= 1000) ? numbers : null;
}

const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

/* Where numbers stand in the plot: x as far as they go, y by what is shown. */
function frameOf(numbers, kind) {
  const farthest = Math.max(4, ...numbers.map((x) => Math.ceil(Math.abs(x))));
  const [low, high] = {
    values: [-farthest / 8, 0.75 * farthest], slopes: [-0.25, 1.25], differences: [-1, 1],
  }[kind];
  const px = (value) => ((value + farthest) / (2 * farthest)) * WIDTH;
  const py = (value) => {
    const place = (1 - (value - low) / (high - low)) * HEIGHT;
    return Math.max(-2 * HEIGHT, Math.min(3 * HEIGHT, place)); // what is outside is cut
  };
  const point = (x, y) => `${px(x).toFixed(2)} ${py(y).toFixed(2)}`;
  return { farthest, low, high, px, py, point };
}

function drawCurves(plot, { farthest, low, high, px, py, point }, { shown, numbers, kind, factor }) {
  for (const name of NAMES) {
    const path = [];
    for (let i = 0; shown.includes(name) && i <= 400; i++) {
      const x = farthest * (i / 200 - 1);
      // A jump, as in the slope of ReLU, is no line: break it.
      const jumps = name === "ReLU" && kind === "slopes" && i === 201;
      path.push(`${i && !jumps ? "L" : "M"}${point(x, factor * VIEWS[kind](name, x))}`);
    }
    plot.curves[name].setAttribute("d", path.join(""));
  }
  plot.axes.setAttribute("d", `M0 ${py(0)}H${WIDTH}M${px(0)} 0V${HEIGHT}`);
  plot.own.setAttribute("d", numbers.map((x) => `M${px(x).toFixed(1)} ${HEIGHT - 8}v8`).join(""));
  const text = (x, y, words, anchor) => draw("text", { x, y, "text-anchor": anchor }, words);
  plot.labels.replaceChildren(
    ...marksOf(-farthest, farthest).map((x) => text(px(x), HEIGHT + 17, say(x, digitsOf(x)), "middle")),
    ...marksOf(low, high).map((y) => text(-6, py(y) + 4, say(y, digitsOf(y)), "end")),
  );
  const what = kind === "differences" ? `values minus that of GELU, times ${factor},` : kind;
  const names = shown.join("; ") || "no function";
  plot.svg.setAttribute("aria-label", `The ${what} of ${names}, for x from −${farthest} to ${farthest}`);
}

/* Rings for the last throw and dots for the mean of all; nothing if there is none. */
function drawThrow(plot, { point }, thrown) {
  const circles = (values, r) =>
    values.map((y, i) =>
      `M${point(thrown.numbers[i], y)}m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`).join("");
  plot.last.setAttribute("d", thrown ? circles(thrown.last, 3) : "");
  plot.means.setAttribute("d", thrown ? circles(thrown.mean, 2.5) : "");
}

/* Digits after the point, two at most. */
const digitsOf = (number) => [0, 1].find((digits) => Number(number.toFixed(digits)) === number) ?? 2;

function render({ model, el }) {
  const plot = makePlot();
  const live = makeLive();
  const atX = make("caption", { "data-value": "x" });
  const hint = make("span");
  let thrown = null; // what dropout has given so far
  let drawn = []; // what the curves were drawn from
  const choose = (values) => put(model, values);

  const view = makeChoice(
    "Show", [["values", "values"], ["slopes", "slopes"], ["differences", "minus GELU"]],
    (chosen) => choose({ view: chosen }),
  );
  const magnify = makeChoice(
    "Magnify", [1, 10, 100, 1000].map((factor) => [factor, `× ${factor}`]),
    (chosen) => choose({ magnify: Number(chosen) }),
  );
  const slider = makeSlider("x =", { min: -4, max: 4, step: 0.01 }, (x) => choose({ at: x }));
  const table = makeTable(atX, (name, on) => {
    const shown = NAMES.filter((n) => (n === name ? on : model.get("shown").includes(n)));
    choose({ shown });
  });
  const dropout = makeSwitch("dropout after GELU", (on) => {
    choose(on ? { dropout: true, view: "values" } : { dropout: false });
  });
  const share = makeSlider("p =", { min: 0, max: 0.9, step: 0.05 }, (p) => choose({ p }));
  const valid = () =>
    thrown?.p === model.get("p") && String(thrown.numbers) === String(model.get("numbers"));
  const throwing = (times) => () => {
    thrown = throwDropout(model.get("numbers"), model.get("p"), times, valid() ? thrown : null);
    update();
  };
  const once = makeButton("Throw once", throwing(1));
  const often = makeButton("Throw 1000 times", throwing(1000));
  const result = makeReadout({ throws: "Throws", kept: "Kept", mean: "The mean is off by" });
  const typed = make("input", { type: "text", inputmode: "text", placeholder: "-1.3878, -0.3" });
  const fault = make("span", { class: "vit-hint", role: "alert" });
  typed.addEventListener("change", () => {
    const numbers = readNumbers(typed.value);
    fault.textContent = numbers ? "" : "Expected numbers from −1000 to 1000 with commas between them.";
    if (numbers) choose({ numbers, at: numbers[0] });
  });
  const keys = ["view", "magnify", "at", "shown", "dropout", "p", "numbers"];
  const reset = makeReset(model, keys, () => {
    thrown = null;
    typed.value = fault.textContent = "";
  });

  const gates = make(
    "div", { class: "act-gates" }, makeControls(share.element, once, often), result.element,
  );
  const root = makeFigure(
    "act-figure", "Activation functions and dropout",
    make(
      "div", { class: "vit-left" },
      makeControls(view.element), make("div", { class: "vit-plot act-plot" }, plot.svg),
      makeControls(magnify.element),
      make("p", { class: "vit-hint" }, hint),
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(slider.element),
      table.element, live.element,
      makeControls(
        make("label", { class: "act-typed" }, "your own x ", typed), fault, dropout.element, reset,
      ),
      gates,
    ),
  );

  function update() {
    const [shown, numbers, p, kind, on] = ["shown", "numbers", "p", "view", "dropout"].map((key) => model.get(key));
    const factor = kind === "differences" ? model.get("magnify") : 1;
    const frame = frameOf(numbers, kind);
    const x = Math.max(-frame.farthest, Math.min(frame.farthest, model.get("at")));
    if (!on || !valid()) thrown = null;

    // All but the line at x stays while x alone moves.
    const asked = [shown, numbers, kind, factor, thrown];
    if (asked.some((value, i) => value !== drawn[i])) {
      drawCurves(plot, frame, { shown, numbers, kind, factor });
      drawThrow(plot, frame, kind === "values" ? thrown : null);
      drawn = asked;
    }
    plot.at.setAttribute("d", `M${frame.px(x)} 0V${HEIGHT}`);

    view.show(kind);
    magnify.show(factor);
    magnify.element.hidden = kind !== "differences";
    slider.input.setAttribute("min", -frame.farthest);
    slider.input.setAttribute("max", frame.farthest);
    slider.show(x, say(x, 2));
    atX.textContent = `At x = ${say(x, x === Number(x.toFixed(2)) ? 2 : 4)}`;
    for (const name of NAMES) {
      const [value, slope] = FUNCTIONS[name](x);
      table.cells[name][0].textContent = say(value, 5);
      table.cells[name][1].textContent = say(slope, 5);
      table.cells[name][2].textContent = say(1000 * (value - gelu(x)), 2);
      table.boxes[name].checked = shown.includes(name);
    }

    dropout.show(on);
    share.show(p, say(p, 2));
    hint.textContent = on
      ? "Rings: the last throw, which keeps a number or gives 0. Pink dots: the mean of all throws."
      : `Short lines at the bottom: ${numbers.length} numbers, on which dropout can be thrown.`;
    gates.hidden = !on;
    const { values } = result;
    values.throws.textContent = String(thrown?.throws ?? 0);
    values.kept.textContent = values.mean.textContent = "–";
    if (thrown) {
      const kept = average(thrown.kept) / thrown.throws;
      const off = average(thrown.mean.map((mean, i) => Math.abs(mean - gelu(numbers[i]))));
      values.kept.textContent = `${(100 * kept).toFixed(1)} %`;
      values.mean.textContent = `${off.toFixed(4)} from GELU, on average`;
    }
    live.say(
      (thrown ? `${thrown.throws} throws, kept ${values.kept.textContent}, mean off by ${values.mean.textContent}. ` : "") +
        `At x = ${say(x, 2)}: ` +
        NAMES.filter((n) => shown.includes(n)).map((n) => `${n} ${say(VIEWS[kind](n, x), 4)}`).join(", "),
    );
  }

  const move = (event) => {
    const { farthest } = frameOf(model.get("numbers"), "values");
    const place = (placeOn(plot.svg, event)[0] * WHOLE - LEFT) / WIDTH;
    choose({ at: Math.round(100 * farthest * Math.max(-1, Math.min(1, 2 * place - 1))) / 100 });
  };
  onTouch(plot.svg, move);
  el.append(root);
  return follow(model, keys, update);
}

export { FUNCTIONS, throwDropout };
export default { render };
