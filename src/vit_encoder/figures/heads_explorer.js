/* Front end of HeadsExplorer: one output number of multi-head self-attention, the heads
   that it reads, and its slope with respect to each number of each token. */

/* The tokens (N, D) of an image (C, H, W): in each patch 2 × 2 means of pixels, channel
   after channel, normalized over all tokens. */
function tokensOf(image, [H, W], [rows, columns]) {
  const [high, wide] = [H / rows / 2, W / columns / 2]; // pixels that make one number
  const tokens = Array.from({ length: rows * columns }, (_, n) =>
    Array.from({ length: 12 }, (_, i) => {
      const [c, y, x] = [Math.floor(i / 4), Math.floor(i / 2) % 2, i % 2];
      const top = high * (2 * Math.floor(n / columns) + y), left = wide * (2 * (n % columns) + x);
      let sum = 0;
      for (let row = 0; row < high; row++) {
        for (let column = 0; column < wide; column++) sum += image[H * W * c + W * (top + row) + left + column];
      }
      return sum / (high * wide);
    }));
  const all = tokens.flat();
  const mean = all.reduce((a, b) => a + b) / all.length;
  const deviation = Math.sqrt(all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / all.length) || 1;
  return tokens.map((token) => token.map((x) => (x - mean) / deviation));
}

/* Token and feature of what row n of head i holds at its feature d, for D = h · D_h. */
const SPLITS = {
  transpose: (i, n, d, N, D_h) => [n, D_h * i + d],
  reshape: (i, n, d, N, D_h, D) => {
    const at = (i * N + n) * D_h + d; // in reading order, which a reshape keeps
    return [Math.floor(at / D), at % D];
  },
};

/* Queries, keys and values of all tokens, (N, 3D). */
const project = (x, layer) =>
  x.map((token) => layer["qkv.weight"].map((row, c) => dot(row, token) + layer["qkv.bias"][c]));

/* Feature j of output token n, and how it comes about. layer: name → parameter.
   reads: how much it reads of each merged feature. weights: (h, N) of each head's row n.
   asks: the token that made each head's query. slopes: (N, D). */
function explain(x, layer, h, [n, j], { mixed, cut, qkv = project(x, layer) }) {
  const [N, D] = [x.length, x[0].length];
  const D_h = D / h;
  const W = layer["qkv.weight"];
  const place = (i, row, d) => SPLITS[cut](i, row, d, N, D_h, D);
  const part = (which, i, row) =>
    Array.from({ length: D_h }, (_, d) => {
      const [token, feature] = place(i, row, d);
      return qkv[token][which * D + feature];
    });
  const reads = mixed ? layer["proj.weight"][j] : Array.from({ length: D }, (_, c) => Number(c === j));
  let value = mixed ? layer["proj.bias"][j] : 0;

  const back = x.map(() => Array(3 * D).fill(0)); // slopes with respect to qkv
  const add = (which, i, row, numbers, factor) =>
    numbers.forEach((number, d) => {
      const [token, feature] = place(i, row, d);
      back[token][which * D + feature] += factor * number;
    });
  const weights = [];
  for (let i = 0; i < h; i++) {
    const own = reads.slice(D_h * i, D_h * (i + 1));
    const q = part(0, i, n);
    const keys = x.map((_, m) => part(1, i, m)), values = x.map((_, m) => part(2, i, m));
    const scores = keys.map((k) => dot(q, k) / Math.sqrt(D_h));
    const A = [...softmax(scores)];
    const worth = values.map((v) => dot(own, v));
    const mean = dot(A, worth);
    value += mean;
    weights.push(A);
    A.forEach((a, m) => {
      const slope = (a * (worth[m] - mean)) / Math.sqrt(D_h); // of the product q·k
      add(0, i, n, keys[m], slope);
      add(1, i, m, q, slope);
      add(2, i, m, own, a);
    });
  }
  const slopes = back.map((row) => {
    const sums = Array(D).fill(0);
    row.forEach((slope, c) => { if (slope) for (let f = 0; f < D; f++) sums[f] += slope * W[c][f]; });
    return sums;
  });
  const asks = Array.from({ length: h }, (_, i) => place(i, n, 0)[0]);
  return { value, reads, weights, asks, slopes };
}

/* The image as a head gets it: at place n the patch that its row n is made from. */
function asGot(image, [H, W], [rows, columns], tokenAt) {
  const [high, wide] = [H / rows, W / columns];
  return image.map((_, at) => {
    const [c, y, x] = [Math.floor(at / (H * W)), Math.floor(at / W) % H, at % W];
    const from = tokenAt(columns * Math.floor(y / high) + Math.floor(x / wide));
    const top = high * Math.floor(from / columns) + (y % high);
    return image[H * W * c + W * top + wide * (from % columns) + (x % wide)];
  });
}

/* A picture with one cell a patch above it and a ring around one of them. */
function makeView([H, W], [rows, columns], picture) {
  const [high, wide] = [H / rows, W / columns];
  const place = (node, n) => {
    node.setAttribute("x", wide * (n % columns));
    node.setAttribute("y", high * Math.floor(n / columns));
  };
  const box = (name) => draw("rect", { class: name, width: wide, height: high });
  const image = draw("image", { width: W, height: H, preserveAspectRatio: "none", href: picture });
  const cells = Array.from({ length: rows * columns }, (_, n) => {
    const cell = box("");
    place(cell, n);
    return cell;
  });
  const rings = [box("heads-halo"), box("heads-ring")];
  const svg = draw(
    "svg", { viewBox: `0 0 ${W} ${H}` }, image, draw("g", { class: "heads-cells" }, ...cells), ...rings,
  );
  return { svg, image, cells, ring: (n) => rings.forEach((ring) => place(ring, n)) };
}

function render({ model, el }) {
  const [size, grid, h] = ["size", "grid", "heads"].map((key) => model.get(key));
  const [rows, columns] = grid;
  const [N, D] = [rows * columns, 12];
  const choose = (values) => put(model, values);
  const live = makeLive();

  const main = makeView(size, grid, model.get("picture"));
  main.svg.setAttribute("aria-hidden", "true");
  const picker = make("div", {
    class: "heads-picture", tabindex: 0, role: "application",
    "aria-label": `${model.get("alt")}, in ${rows} rows and ${columns} columns of patches`,
    "aria-description": "The arrow keys move the token.",
  }, main.svg);
  const views = Array.from({ length: h }, () => makeView(size, grid, model.get("picture")));
  const figures = views.map((view, i) => {
    view.svg.setAttribute("role", "img");
    return make("figure", { class: "heads-head" }, view.svg, make("figcaption", {}, `head ${i}`));
  });
  const feature = makeSlider("feature", { min: 0, max: D - 1, step: 1 }, (j) => {
    choose({ output: [model.get("output")[0], j] });
  });
  const mixed = makeSwitch(
    make("span", {}, "W", make("sub", {}, "O")), (on) => choose({ mixed: on }),
  );
  const cut = makeChoice(
    "Split by", [["transpose", "reshape and transpose"], ["reshape", "reshape alone"]],
    (chosen) => choose({ cut: chosen }),
  );
  const own = makeOwnImage(...size, (bytes, picture) => choose({ pixels: toText(bytes), picture }));
  const keys = ["picture", "pixels", "output", "mixed", "cut"];
  const readout = makeReadout({
    output: "Output", value: "Its value", heads: "Heads that it reads",
    inputs: "Inputs it depends on", asks: "Queries are made from",
  });
  const reads = Array.from({ length: D }, (_, c) =>
    draw("rect", { x: c + 0.05, y: 0.05, width: 0.9, height: 0.9 }));
  const edges = Array.from({ length: h - 1 }, (_, i) => `M${((i + 1) * D) / h} -.3V1.3`).join("");
  const readStrip = draw(
    "svg", { class: "heads-reads", viewBox: `0 -.3 ${D} 1.6`, role: "img" },
    ...reads, draw("path", { class: "heads-edges", d: edges }),
  );
  const cells = Array.from({ length: N * D }, (_, i) =>
    draw("rect", { x: Math.floor(i / D) + 0.05, y: (i % D) + 0.05, width: 0.9, height: 0.9 }));
  const frame = draw("rect", { class: "heads-frame", width: N, height: D });
  const table = draw("svg", { class: "heads-table", viewBox: `0 0 ${N} ${D}`, role: "img" }, frame, ...cells);

  const part = (drawn, words) => make("div", {}, drawn, make("p", { class: "vit-hint" }, words));
  const root = makeFigure(
    "heads-figure", "One output number, and what it reads",
    make(
      "div", { class: "vit-left" },
      picker,
      make("p", { class: "vit-hint" }, "Ringed: the token of the output. The paler a patch, the less the output depends on it."),
      make("div", { class: "heads-views" }, ...figures),
      make("p", { class: "vit-hint" }, "The image as each head gets it. Purple: what the head attends to from the ringed place."),
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(feature.element, mixed.element, cut.element, own, makeReset(model, keys)),
      readout.element, live.element,
      part(readStrip, "How much the output reads of the merged heads, feature by feature."),
      part(table, `How much it depends on each input: ${N} tokens from left to right, ${D} features from top to bottom.`),
    ),
  );
  let known = {}; // the tokens and pictures, and what they were made from

  function prepare() {
    const on = [model.get("pixels"), model.get("cut")];
    if (known.on && on.every((value, i) => value === known.on[i])) return known;
    const image = toImage(on[0]);
    const x = tokensOf(image, size, grid);
    known = { on, x, qkv: project(x, model.get("layer")) };
    main.image.setAttribute("href", model.get("picture"));
    views.forEach((view, i) => {
      const tokenAt = (n) => SPLITS[on[1]](i, n, 0, N, D / h, D)[0];
      view.image.setAttribute("href", on[1] === "transpose"
        ? model.get("picture") : toPicture(asGot(image, size, grid, tokenAt), ...size));
    });
    return known;
  }

  const shade = (nodes, numbers, most = Math.max(...numbers.map(Math.abs))) =>
    nodes.forEach((node, i) => {
      const opacity = (Math.abs(numbers[i]) / (most || 1)).toFixed(2);
      if (node.getAttribute("fill-opacity") !== opacity) node.setAttribute("fill-opacity", opacity);
    });

  function update() {
    const { x, qkv } = prepare();
    const [n, j] = model.get("output");
    const options = { mixed: model.get("mixed"), cut: model.get("cut"), qkv };
    const found = explain(x, model.get("layer"), h, [n, j], options);
    const used = Array.from({ length: h }, (_, i) => found.reads.slice((i * D) / h, ((i + 1) * D) / h).some(Boolean));

    const sums = found.slopes.map((row) => row.reduce((sum, slope) => sum + Math.abs(slope), 0));
    const most = Math.max(...sums) || 1;
    shade(main.cells, sums.map((sum) => 0.85 * (1 - sum / most)), 1);
    main.ring(n);
    views.forEach((view, i) => {
      const largest = Math.max(...found.weights[i]);
      shade(view.cells, found.weights[i].map((w) => 0.8 * (w / largest)), 1);
      view.ring(n);
      figures[i].classList.toggle("heads-unused", !used[i]);
      const at = found.weights[i].indexOf(largest);
      view.svg.setAttribute(
        "aria-label", `head ${i}: its row ${n} is made from token ${found.asks[i]}; largest weight ${largest.toFixed(2)} at place ${at}`,
      );
    });
    shade(reads, found.reads);
    shade(cells, found.slopes.flat());

    feature.show(j, String(j));
    mixed.show(options.mixed);
    cut.show(options.cut);
    const list = used.flatMap((is, i) => (is ? [i] : []));
    const inputs = found.slopes.flat().filter((slope) => Math.abs(slope) > 1e-12).length;
    const asked = [...new Set(found.asks.filter((_, i) => used[i]))];
    const { values } = readout;
    values.output.textContent = `token ${n}, feature ${j}`;
    values.value.textContent = say(found.value, 5);
    values.heads.textContent = `${list.length} of ${h}: ${list.join(", ")}`;
    values.inputs.textContent = `${inputs} of ${N * D}`;
    values.asks.textContent = `token${asked.length > 1 ? "s" : ""} ${asked.join(", ")}`;
    readStrip.setAttribute("aria-label", `Reads ${found.reads.filter(Boolean).length} of ${D} merged features, of the heads ${list.join(", ")}`);
    table.setAttribute("aria-label", `Depends on ${inputs} of ${N * D} inputs, most on token ${sums.indexOf(Math.max(...sums))}`);
    live.say(
      `Token ${n}, feature ${j}: ${values.value.textContent}. It reads ${list.length} of ${h} heads` +
        ` and depends on ${inputs} of ${N * D} inputs. The heads' queries are made from ${values.asks.textContent}.`,
    );
  }

  const tokenUnder = (event) => {
    const [x, y] = placeOn(main.svg, event);
    choose({ output: [columns * Math.floor(y * rows) + Math.floor(x * columns), model.get("output")[1]] });
  };
  onTouch(picker, tokenUnder);
  onArrows(picker, (down, right) => {
    const [n, j] = model.get("output");
    const row = Math.max(0, Math.min(rows - 1, Math.floor(n / columns) + down));
    const column = Math.max(0, Math.min(columns - 1, (n % columns) + right));
    choose({ output: [columns * row + column, j] });
  });
  el.append(root);
  return follow(model, keys, update);
}

export { asGot, explain, tokensOf };
export default { render };
