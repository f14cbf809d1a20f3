/* Front end of TokensExplorer: tokens on a plane, the maps that make queries, keys and
   values of them, and what one head of attention gives each token. */

const product = (A, B) =>
  A.map((row) => B[0].map((_, j) => row.reduce((sum, a, i) => sum + a * B[i][j], 0)));
const transposed = (A) => A[0].map((_, j) => A.map((row) => row[j]));

const entropyOf = (weights) => -weights.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0);

/* One head of attention. tokens: (N, 2). W_Q, W_K: (2, D_h). W_V: (2, 2). looks: for each
   query the direction in which scores grow, which is the score of a token at (1, 0) and
   of one at (0, 1). */
function attend(tokens, W_Q, W_K, W_V, scaled) {
  const factor = scaled ? 1 / Math.sqrt(W_Q[0].length) : 1;
  const looks = product(product(tokens, W_Q), transposed(W_K)).map((row) => row.map((x) => factor * x));
  const scores = product(looks, transposed(tokens));
  const weights = scores.map((row) => [...softmax(row)]);
  const values = product(tokens, W_V);
  return { looks, scores, weights, values, outputs: product(weights, values), entropies: weights.map(entropyOf) };
}

/* The corners of the smallest convex region around points, in order. */
function hullOf(points) {
  const sorted = [...points].sort(([a, b], [c, d]) => a - c || b - d);
  const half = (row) => {
    const kept = [];
    for (const p of row) {
      for (;;) {
        const [a, b] = kept.slice(-2);
        if (!b || (b[0] - a[0]) * (p[1] - a[1]) > (b[1] - a[1]) * (p[0] - a[0])) break;
        kept.pop();
      }
      kept.push(p);
    }
    return kept.slice(0, -1);
  };
  return points.length < 2 ? points : [...half(sorted), ...half(sorted.reverse())];
}

const deviation = (numbers) => {
  const mean = numbers.reduce((a, b) => a + b) / numbers.length;
  return Math.sqrt(numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length);
};

/* About normal, with standard deviation 1, in tenths. */
const someNumber = () => {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return Math.round(10 * radius * Math.cos(2 * Math.PI * Math.random())) / 10;
};

const sayPoint = (point) => `(${point.map((x) => say(x)).join(", ")})`;

const inHundredths = (number) => Math.round(100 * number) / 100;

const SIDE = 340; // of the plane, in its own units
const W = (index) => make("span", {}, "W", make("sub", {}, index));

/* The fields of a matrix of two rows; show(rows, columns) hides the rest. */
function makeMatrix(key, label, columns, change) {
  const fields = [0, 1].map((i) =>
    Array.from({ length: columns }, (_, j) => {
      const field = make("input", {
        type: "number", step: 0.1, min: -1000, max: 1000,
        "aria-label": `W ${key.slice(2).toUpperCase()}, row ${i}, column ${j}`,
      });
      field.addEventListener("input", () => {
        const number = inHundredths(field.valueAsNumber); // as it is shown
        if (Math.abs(number) <= 1000) change(i, j, number);
      });
      field.addEventListener("change", () => {
        if (!(Math.abs(field.valueAsNumber) <= 1000)) field.value = field.defaultValue;
      });
      return field;
    }));
  const grid = make("div", {}, ...Array.from({ length: columns }, (_, j) => [fields[0][j], fields[1][j]]).flat());
  const element = make("div", { class: `plane-matrix plane-${key}` }, label, grid);
  return {
    element,
    show(rows, width) {
      element.classList.toggle("plane-wide", width > 3);
      fields.forEach((row, i) => row.forEach((field, j) => {
        field.hidden = j >= width;
        const text = String(Number(rows[i][j].toFixed(2)));
        field.defaultValue = text; // where what is typed is no number
        if (Number(field.value) !== Number(text) || field.value === "") field.value = text;
      }));
    },
  };
}

/* The table of weights, a row a query. */
function makeTable(N, choose) {
  const name = `plane-${Math.random().toString(36).slice(2)}`; // a group of its own
  const count = Array.from({ length: N }, (_, i) => i);
  const rows = count.map((i) => {
    const cells = count.map((j) => {
      const [text, bar] = [make("span", { "data-value": `${i} ${j}` }), make("i")];
      return { text, bar, element: make("td", {}, text, bar) };
    });
    const input = make("input", { type: "radio", name, class: "vit-live-only" });
    input.addEventListener("change", () => choose(i));
    const head = make("th", { scope: "row" }, make("label", {}, input, `query ${i}`));
    const element = make("tr", { class: "" }, head, ...cells.map((cell) => cell.element));
    return { element, input, cells };
  });
  const heads = count.map((j) => make("th", { scope: "col" }, `key ${j}`));
  const element = make(
    "table", { class: N > 5 ? "plane-many" : "" }, make("caption", {}, "Attention weights"),
    make("thead", {}, make("tr", {}, make("td"), ...heads)),
    make("tbody", {}, ...rows.map((row) => row.element)),
  );
  return {
    element,
    show(weights, query) {
      rows.forEach((row, i) => {
        row.element.classList.toggle("plane-chosen", i === query);
        row.input.checked = i === query;
        row.cells.forEach(({ text, bar }, j) => {
          const said = weights[i][j].toFixed(2);
          if (text.textContent === said && bar.style.width) return;
          text.textContent = said;
          bar.style.width = `${Math.round(100 * weights[i][j])}%`;
        });
      });
    },
  };
}

/* Write what has changed and leave the rest, which a browser need not draw again. */
function assign(node, values) {
  for (const [key, value] of Object.entries(values)) {
    if (node.getAttribute(key) !== String(value)) node.setAttribute(key, value);
  }
}

/* The plane with everything that lies on it. */
function makePlane(N) {
  const count = Array.from({ length: N }, (_, i) => i);
  const labelled = (name, i, ...nodes) => draw("g", { class: name }, ...nodes, draw("text", { y: 4 }, String(i)));
  const [grid, axes, hull, looks] = ["grid", "axes", "hull", "looks"].map((name) =>
    draw("path", { class: `plane-${name}` }));
  const ends = [draw("text", { x: SIDE - 4, "text-anchor": "end" }), draw("text", { y: 12 })];
  const pulls = count.map(() => draw("line"));
  const values = count.map((i) => labelled("plane-value", i, draw("rect", { x: -11, y: -11, width: 22, height: 22, rx: 2 })));
  const tokens = count.map((i) => labelled(
    "plane-token", i, draw("circle", { class: "plane-reach", r: 20 }), draw("circle", { r: 11.5 }),
    draw("circle", { class: "plane-ring", r: 15 }),
  ));
  for (const token of tokens) {
    assign(token, {
      tabindex: 0, role: "application",
      "aria-description": "The arrow keys move the token; Enter makes it the query.",
    });
  }
  const output = draw("g", { class: "plane-output" }, draw("path", { d: "M0 -8L8 0L0 8L-8 0z" }));
  const inside = draw(
    "svg", { width: SIDE, height: SIDE, viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" },
    grid, axes, ...ends, hull, draw("g", { class: "plane-pulls" }, ...pulls), looks,
  );
  const svg = draw(
    "svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "group" },
    inside, ...values, ...tokens, output,
  );
  return { svg, grid, axes, ends, hull, pulls, looks, values, tokens, output };
}

/* The plane's numbers go from -range to range. */
const RANGES = [2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 300, 500, 1000, 3000, 10000, 1e5, 1e6, 1e7];
const rangeOf = (points, least = 2) => {
  const farthest = Math.max(...points.flat().map(Math.abs));
  return RANGES.find((range) => range >= least && range >= farthest);
};

function drawPlane(plane, range, tokens, found, query) {
  const place = ([x, y]) => [((x / range + 1) * SIDE) / 2, ((1 - y / range) * SIDE) / 2];
  const text = (points) => points.map((p) => place(p).map((x) => x.toFixed(1)).join(" "));
  const move = (node, point) => assign(node, { transform: `translate(${text([point])[0].replace(" ", ",")})` });
  const middle = SIDE / 2;
  const step = range <= 10 ? middle / range : middle / 5;
  let lines = "";
  for (let at = middle % step; at <= SIDE; at += step) lines += `M0 ${at.toFixed(1)}H${SIDE}M${at.toFixed(1)} 0V${SIDE}`;
  assign(plane.grid, { d: lines });
  assign(plane.axes, { d: `M0 ${middle}H${SIDE}M${middle} 0V${SIDE}` });
  assign(plane.ends[0], { y: middle - 4 });
  assign(plane.ends[1], { x: middle + 4 });
  for (const end of plane.ends) end.textContent = String(range);

  const { values, outputs, weights, looks } = found;
  assign(plane.hull, { d: `M${text(hullOf(values)).join("L")}z` });
  const [x1, y1] = place(outputs[query]).map((x) => x.toFixed(1));
  plane.pulls.forEach((line, j) => {
    const [x2, y2] = place(values[j]).map((x) => x.toFixed(1));
    assign(line, { x1, y1, x2, y2, "stroke-width": (14 * weights[query][j]).toFixed(2) });
  });
  values.forEach((value, j) => move(plane.values[j], value));
  tokens.forEach((token, i) => {
    move(plane.tokens[i], token);
    plane.tokens[i].classList.toggle("plane-query", i === query);
    assign(plane.tokens[i], { "aria-label": `token ${i} at ${sayPoint(token)}, its value at ${sayPoint(values[i])}` });
  });
  move(plane.output, outputs[query]);

  // An arrow from the middle; one that ends outside is cut by the edge.
  const [dx, dy] = looks[query];
  const length = Math.hypot(dx, dy);
  let arrow = "";
  if (length > 1e-9) {
    const inside = Math.min(1, (0.97 * range) / Math.max(Math.abs(dx), Math.abs(dy)));
    const [x, y] = place([inside * dx, inside * dy]);
    const [ux, uy] = [dx / length, -dy / length];
    const wing = (side) => `L${(x - 9 * ux + side * 5 * uy).toFixed(1)} ${(y - 9 * uy - side * 5 * ux).toFixed(1)}`;
    const tip = `${x.toFixed(1)} ${y.toFixed(1)}`;
    arrow = `M${middle} ${middle}L${tip}M${tip}${wing(1)}M${tip}${wing(-1)}`;
  }
  assign(plane.looks, { d: arrow });
}

function render({ model, el }) {
  const N = model.get("tokens").length;
  const least = rangeOf(model.get("tokens")); // how far a token can be dragged
  const plane = makePlane(N);
  const live = makeLive();
  const choose = (values) => put(model, values);
  let range = least;

  const width = makeSlider(
    make("span", {}, "D", make("sub", {}, "h"), " ="), { min: 1, max: 8, step: 1 },
    (columns) => choose({ width: columns }),
  );
  const scaled = makeSwitch(
    make("span", {}, "scale by 1/√D", make("sub", {}, "h")), (on) => choose({ scaled: on }),
  );
  const change = (key) => (i, j, number) => {
    const rows = model.get(key).map((row) => [...row]);
    rows[i][j] = number;
    choose({ [key]: rows });
  };
  const matrices = { w_q: ["Q", 8], w_k: ["K", 8], w_v: ["V", 2] };
  for (const [key, [index, columns]] of Object.entries(matrices)) {
    matrices[key] = makeMatrix(key, W(index), columns, change(key));
  }
  const some = makeButton(make("span", {}, "Random ", W("Q"), ", ", W("K")), () => {
    const rows = () => [0, 1].map(() => Array.from({ length: 8 }, someNumber));
    choose({ w_q: rows(), w_k: rows() });
  });
  const keys = ["tokens", "w_q", "w_k", "w_v", "width", "scaled", "query"];
  const table = makeTable(N, (i) => choose({ query: i }));
  const readout = makeReadout({
    query: "Query", most: "Largest weight", entropy: "Entropy", output: "Output",
    spread: "Spread of all scores",
  });
  const root = makeFigure(
    "plane-figure", "Attention between tokens on a plane",
    make(
      "div", { class: "vit-left" },
      make("div", { class: "vit-plot plane-view" }, plane.svg),
      makeControls(make("p", { class: "vit-hint" }, "Drag a token, or tap it to make it the query.")),
      make(
        "p", { class: "vit-hint" },
        "Circles: tokens, the query’s ringed. Squares: their values, the hull shaded. White: the " +
          "query’s output; the thicker a line, the more weight. Arrow: the farther along it a " +
          "token lies, the higher its score.",
      ),
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(
        width.element, scaled.element,
        make("div", { class: "plane-fields" }, ...Object.values(matrices).map((matrix) => matrix.element)),
        some, makeReset(model, keys),
      ),
      table.element, readout.element, live.element,
    ),
  );

  function update() {
    const [tokens, w_q, w_k, w_v, columns, isScaled, chosen] = keys.map((key) => model.get(key));
    const used = [w_q, w_k].map((rows) => rows.map((row) => row.slice(0, columns)));
    const found = attend(tokens, ...used, w_v, isScaled);
    range = rangeOf([...tokens, ...found.values], least);
    drawPlane(plane, range, tokens, found, chosen);
    table.show(found.weights, chosen);

    width.show(columns, String(columns));
    scaled.show(isScaled);
    matrices.w_q.show(w_q, columns);
    matrices.w_k.show(w_k, columns);
    matrices.w_v.show(w_v, 2);
    const weights = found.weights[chosen];
    const largest = Math.max(...weights);
    const { values } = readout;
    values.query.textContent = `token ${chosen} at ${sayPoint(tokens[chosen])}`;
    values.most.textContent = `${largest.toFixed(3)} on key ${weights.indexOf(largest)}`;
    values.entropy.textContent = `${found.entropies[chosen].toFixed(2)} of ln ${N} = ${Math.log(N).toFixed(2)} nats`;
    values.output.textContent = sayPoint(found.outputs[chosen]);
    values.spread.textContent = say(deviation(found.scores.flat()));
    plane.svg.setAttribute("aria-label", `${N} tokens, their values, and the output of query ${chosen} at ${values.output.textContent}`);
    live.say(
      `Query ${chosen}: weights ${weights.map((w) => w.toFixed(2)).join(", ")}, entropy ${found.entropies[chosen].toFixed(2)}, ` +
        `output ${values.output.textContent}, inside the hull of the values.`,
    );
  }

  const moved = (i, [x, y]) => {
    const clamp = (number) => Math.max(-least, Math.min(least, inHundredths(number)));
    choose({ tokens: model.get("tokens").map((token, at) => (at === i ? [clamp(x), clamp(y)] : token)) });
  };
  const pointOf = (event) => {
    const [right, down] = placeOn(plane.svg, event);
    return [range * (2 * right - 1), range * (1 - 2 * down)];
  };
  // A drag moves the nearest token; what moves less than a tap does chooses the query.
  let held = null;
  plane.svg.addEventListener("pointerdown", (event) => {
    const [x, y] = pointOf(event);
    const tokens = model.get("tokens");
    const far = tokens.map(([a, b]) => Math.hypot(a - x, b - y));
    const i = far.indexOf(Math.min(...far));
    held = { i, from: [event.clientX, event.clientY], off: [tokens[i][0] - x, tokens[i][1] - y] };
  });
  plane.svg.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons) return;
    const [dx, dy] = [event.clientX - held.from[0], event.clientY - held.from[1]];
    held.dragged ||= Math.hypot(dx, dy) > 3;
    const [x, y] = pointOf(event);
    if (held.dragged) moved(held.i, [x + held.off[0], y + held.off[1]]);
  });
  plane.svg.addEventListener("pointerup", () => {
    if (held && !held.dragged) choose({ query: held.i });
    held = null;
  });
  plane.svg.addEventListener("pointercancel", () => { held = null; });
  plane.tokens.forEach((token, i) => {
    // Where a browser knows no touch-action in a drawing, a drag must not scroll.
    token.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    onArrows(token, (down, right) => {
      const [x, y] = model.get("tokens")[i];
      moved(i, [x + (right * least) / 30, y - (down * least) / 30]);
    });
    onKeys(token, ["Enter", " "], () => { choose({ query: i }); });
  });
  el.append(root);
  return follow(model, keys, update);
}

export { attend, hullOf };
export default { render };
