/* Front end of AttentionExplorer: the reader chooses a patch of a photograph, and the
   attention weights of that query are laid over the picture. */

/* Two tables of n rows from whole numbers: see `whole_numbers` in the Python file. */
function readPair(text, steps, n) {
  const bytes = bytesOf(text);
  const codes = Int32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const code = bytes[i] + 256 * bytes[bytes.length / 2 + i];
    return code % 2 ? -(code + 1) / 2 : code / 2;
  });
  const width = codes.length / n / steps.length;
  const [q, k = q] = steps.map((_, i) => codes.subarray(i * n * width, (i + 1) * n * width));
  const [step, other = step] = steps;
  return { q, k, width, step: step * other };
}

/* The tokens of an image, (N, C·P·P + 1): each patch less the mean patch, divided by its
   root mean square, and a 1 for the bias. rgb: bytes of H × W pixels, one after the other. */
function tokensOf(rgb, [H, W], [rows, columns]) {
  const P = H / rows, D = 3 * P * P;
  const tokens = Array.from({ length: rows * columns }, (_, i) => {
    const [top, left] = [P * Math.floor(i / columns), P * (i % columns)];
    const token = new Float64Array(D + 1);
    for (let c = 0, at = 0; c < 3; c++) {
      for (let y = top; y < top + P; y++) {
        for (let x = left; x < left + P; x++, at++) token[at] = rgb[3 * (W * y + x) + c] / 255;
      }
    }
    return token;
  });
  for (let j = 0; j < D; j++) {
    let mean = 0;
    for (const token of tokens) mean += token[j] / tokens.length;
    for (const token of tokens) token[j] -= mean;
  }
  for (const token of tokens) {
    const size = Math.sqrt(dot(token, token) / D) || 1; // of a patch that is the mean
    for (let j = 0; j < D; j++) token[j] /= size;
    token[D] = 1;
  }
  return tokens;
}

/* Queries and keys of tokens: through a layer, or the tokens themselves where there is none. */
function pairOfTokens(tokens, text, steps, width) {
  const through = (map, size) => Float64Array.from({ length: tokens.length * width }, (_, i) =>
    dot(tokens[Math.floor(i / width)], map, (i % width) * size));
  if (!text) {
    const bare = new Float64Array(tokens.length * width);
    tokens.forEach((token, i) => bare.set(token.subarray(0, width), i * width));
    return { q: bare, k: bare, width, step: 1 };
  }
  const { q, k, width: size, step } = readPair(text, steps, width);
  return { q: through(q, size), k: through(k, size), width, step };
}

/* The products of one query with all keys. */
function scoresOf({ q, k, width, step }, row) {
  const query = q.subarray(row * width, (row + 1) * width);
  return Array.from({ length: k.length / width }, (_, column) => step * dot(query, k, column * width));
}

function entropyOf(weights) {
  return -weights.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0);
}

const square = (name) => draw("rect", { class: name, width: 1, height: 1 });
const placeAt = (node, [row, column]) => {
  node.setAttribute("x", column);
  node.setAttribute("y", row);
};

/* The photograph with one cell a patch, the outline of the query and of the largest. */
function makePicture(model) {
  const [rows, columns] = model.get("grid");
  const cells = Array.from({ length: rows * columns }, (_, i) => {
    const cell = square("vit-cell");
    placeAt(cell, [Math.floor(i / columns), i % columns]);
    return cell;
  });
  const image = draw("image", {
    width: columns, height: rows, preserveAspectRatio: "none",
  });
  const marks = ["vit-most", "vit-halo", "vit-query"].map(square);
  const svg = draw(
    "svg",
    { viewBox: `0 0 ${columns} ${rows}`, "aria-hidden": "true" },
    image, draw("g", { class: "vit-cells" }, ...cells), ...marks,
  );
  const element = make("div", {
    class: "vit-picture", tabindex: 0, role: "application",
    "aria-description": "The arrow keys move the query.",
  }, svg);
  const show = (href, alt) => {
    image.setAttribute("href", href);
    element.setAttribute("aria-label", `${alt}, in ${rows} rows and ${columns} columns of patches`);
  };
  const [most, halo, query] = marks;
  return { element, svg, cells, most, query: [halo, query], show };
}

const ePowerEntropy = () => make("span", {}, "e", make("sup", {}, "entropy"));

/* The weights of the query, largest first. */
function makeStrip(n) {
  const bars = draw("path", { class: "vit-bars" });
  const even = draw("path", { class: "vit-even" });
  const svg = draw(
    "svg", { viewBox: `0 0 ${n} 1`, preserveAspectRatio: "none", "aria-hidden": "true" }, bars, even,
  );
  const spread = make("div", { class: "vit-spread" }, ePowerEntropy());
  const element = make(
    "div", { class: "vit-strip" },
    make("div", {}, svg, spread),
    make("p", { class: "vit-hint" }, `${n} weights, largest first. Dashed: all equal.`),
  );
  return { element, bars, even, spread };
}

function makeLegend(ramp) {
  const bar = make("span", { class: "vit-ramp", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${ramp})`;
  const top = make("span");
  const keys = make("span", { class: "vit-key" }, make("i", { "aria-hidden": "true" }), "query");
  const element = make(
    "div", { class: "vit-legend" }, keys,
    make("span", { class: "vit-scale" }, make("span", {}, "attention weight"), "0", bar, top),
  );
  return { element, top };
}

function showStrip(strip, weights, spread) {
  const n = weights.length;
  const sorted = [...weights].sort((a, b) => b - a);
  const heights = sorted.map((w) => (w / sorted[0]).toFixed(4));
  strip.bars.setAttribute("d", heights.map((h, i) => `M${i} 1V${1 - h}h.8V1z`).join(""));
  strip.even.setAttribute("d", `M0 ${1 - 1 / n / sorted[0]}H${n}`);
  strip.spread.style.left = `${(100 * spread) / n}%`;
  strip.spread.classList.toggle("vit-flip", spread > 0.55 * n);
}

function render({ model, el }) {
  const [rows, columns] = model.get("grid");
  const n = rows * columns;
  let pointed = null; // the patch under the mouse, shown until the mouse leaves
  let shown; // the label of the weights on the picture

  const missing = (label) => { fault.textContent = `“${label}” could not be loaded.`; };
  const failed = (label) => {
    put(model, { label: shown });
    missing(label);
  };
  const ofGiven = makeParts(model.get("parts"),
    (text, label) => readPair(text, model.get("steps")[label], n), () => update(), failed);
  const ofOwn = (tokens) => makeParts(model.get("layers"), (text, label) => {
    const width = Math.round(model.get("scale")[label] ** -2);
    return pairOfTokens(tokens, text, model.get("layer_steps")[label], width);
  }, () => update(), (label) => {
    if (seen === given) failed(label);
    else look(given);
    missing(label);
  });

  function choose(values) {
    pointed = null;
    put(model, values);
  }

  const picture = makePicture(model);
  const legend = makeLegend(model.get("ramp"));
  const labels = makeChoice(
    "Scores", model.get("labels").map((label) => [label, label]),
    (label) => choose({ label }),
  );
  const scaledBy = make("span", { class: "vit-quiet" });
  const scaled = makeSwitch(
    make("span", {}, "scale by 1/√D", make("sub", {}, "h"), " ", scaledBy),
    (on) => choose({ scaled: on }),
  );
  const readout = makeReadout({
    query: "Query", most: "Largest weight", entropy: "Entropy", spread: ePowerEntropy(),
  });
  const live = makeLive();
  const strip = makeStrip(n);
  const hint = make(
    "p", { class: "vit-hint" }, "Touch or click a patch, or use the arrow keys.",
  );
  const fault = make("span", { class: "vit-hint", role: "alert" });
  const keys = ["query", "label", "scaled"];
  // An image, and for each label its queries and keys.
  const given = { href: model.get("picture"), alt: model.get("alt"), pairOf: ofGiven };
  let seen = given;
  function look(image) {
    seen = image;
    update();
  }
  const pixels = model.get("pixels");
  const own = makeOwnImage(...pixels, (rgb) => look({
    href: fadedPicture((i) => rgb.subarray(3 * i, 3 * i + 3), ...pixels),
    alt: "an image of your own",
    pairOf: ofOwn(tokensOf(rgb, pixels, [rows, columns])),
  }));
  const takesOwn = Object.keys(model.get("layers")).length > 0;
  const root = makeFigure(
    "vit-explorer", "Where a patch attends",
    make("div", { class: "vit-left" }, picture.element, legend.element, makeControls(hint)),
    make(
      "div", { class: "vit-right" },
      makeControls(
        model.get("labels").length > 1 ? labels.element : "", scaled.element,
        takesOwn ? own : "", makeReset(model, keys, () => look(given)), fault,
      ),
      readout.element, live.element, strip.element,
    ),
  );

  function update() {
    const query = pointed ?? model.get("query");
    const label = model.get("label");
    const scale = model.get("scale")[label];
    const pair = seen.pairOf(label);
    labels.show(label);
    scaled.show(model.get("scaled"));
    if (!pair) return;
    shown = label;
    picture.show(seen.href, seen.alt); // with its weights, not before
    fault.textContent = "";
    const factor = model.get("scaled") ? scale : 1;
    const scores = scoresOf(pair, query[0] * columns + query[1]);
    const weights = softmax(scores.map((score) => score * factor));
    const largest = Math.max(...weights);
    const most = weights.indexOf(largest);
    const mostAt = [Math.floor(most / columns), most % columns];
    const entropy = entropyOf(weights);
    const spread = Math.exp(entropy);

    const ramp = model.get("ramp");
    weights.forEach((w, i) => {
      picture.cells[i].setAttribute("fill", mix(ramp, w / largest));
      picture.cells[i].dataset.weight = w.toFixed(5);
    });
    for (const mark of picture.query) placeAt(mark, query);
    placeAt(picture.most, mostAt);
    legend.top.textContent = largest.toFixed(3);
    scaledBy.textContent = `(× ${Number(scale.toPrecision(3))})`;
    const { values } = readout;
    values.query.textContent = `row ${query[0]}, column ${query[1]}`;
    values.most.textContent =
      `${largest.toFixed(3)} at row ${mostAt[0]}, column ${mostAt[1]}`;
    values.entropy.textContent =
      `${entropy.toFixed(2)} of ln ${n} = ${Math.log(n).toFixed(2)} nats`;
    values.spread.textContent = `about ${spread.toFixed(spread < 9.95 ? 1 : 0)} patches`;
    live.say(
      `Query at ${values.query.textContent}: largest weight ${values.most.textContent},` +
        ` ${values.spread.textContent}.`,
    );
    showStrip(strip, weights, spread);
  }

  const patchAt = (event) => {
    const [x, y] = placeOn(picture.svg, event);
    return [Math.floor(y * rows), Math.floor(x * columns)];
  };
  picture.element.addEventListener("pointermove", (event) => {
    pointed = patchAt(event);
    update();
  });
  picture.element.addEventListener("pointerleave", () => {
    pointed = null;
    update();
  });
  picture.element.addEventListener("pointerup", (event) => choose({ query: patchAt(event) }));
  onArrows(picture.element, (down, right) => {
    const [row, column] = model.get("query");
    choose({
      query: [
        Math.max(0, Math.min(rows - 1, row + down)),
        Math.max(0, Math.min(columns - 1, column + right)),
      ],
    });
  });
  el.append(root);
  return follow(model, keys, update);
}

export { pairOfTokens, readPair, scoresOf, tokensOf };
export default { render };
