/* Front end of EncoderTour: one image through all numbers of the ViT of vit.js, and what
   depth and skips change. */

/* Numbers as pictures. A canvas cannot be written down, and a still needs them. */

const CRC = table(256, (n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const word = (n) => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255);

/* An address of a PNG, not compressed. rgba: four bytes a pixel, row after row. */
function toPng(width, height, rgba) {
  const line = 4 * width + 1, size = line * height; // a byte before each row says that it is plain
  const blocks = Math.ceil(size / 65535); // of zlib, as they are
  const bytes = new Uint8Array(8 + 25 + 12 + 2 + 5 * blocks + size + 4 + 12);
  bytes.set([137, 80, 78, 71, 13, 10, 26, 10]);
  let at = 8;
  const chunk = (name, data) => {
    bytes.set([...word(data.length), ...[...name].map((letter) => letter.charCodeAt(0))], at);
    bytes.set(data, at + 8);
    let crc = 0xffffffff;
    for (let i = at + 4; i < at + 8 + data.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
    bytes.set(word(~crc), at + 8 + data.length);
    at += 12 + data.length;
  };
  const raw = new Uint8Array(size);
  for (let y = 0; y < height; y++) raw.set(rgba.subarray(4 * width * y, 4 * width * (y + 1)), line * y + 1);
  const data = new Uint8Array(2 + 5 * blocks + size + 4);
  data.set([0x78, 1]);
  for (let i = 0; i < blocks; i++) {
    const part = raw.subarray(65535 * i, 65535 * (i + 1)), { length } = part, to = 2 + 65540 * i;
    data.set([Number(i === blocks - 1), length & 255, length >> 8, ~length & 255, (~length >> 8) & 255], to);
    data.set(part, to + 5);
  }
  let [sum, sums] = [1, 0];
  for (const byte of raw) { sum = (sum + byte) % 65521; sums = (sums + sum) % 65521; }
  data.set(word(((sums << 16) | sum) >>> 0), data.length - 4);
  chunk("IHDR", [...word(width), ...word(height), 8, 6, 0, 0, 0]);
  chunk("IDAT", data);
  chunk("IEND", []);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return `data:image/png;base64,${btoa(text)}`;
}

/* Of numbers above and below 0. What is small is transparent, so that light and dark need
   no pictures of their own. */
const COLOURS = { signed: [[53, 151, 143], [191, 129, 45]], weights: [[128, 87, 172], [128, 87, 172]] };
/* The few numbers that are far larger than the others are drawn as if they were less so. */
const toPictureOf = (rows, kind) => {
  let [most, squares] = [0, 0];
  for (const row of rows) for (const x of row) { most = Math.max(most, Math.abs(x)); squares += x * x; }
  if (kind === "signed") most = Math.min(most, 2.5 * Math.sqrt(squares / (rows.length * rows[0].length)));
  const [above, below] = COLOURS[kind];
  const rgba = new Uint8Array(4 * rows.length * rows[0].length);
  let at = 0;
  for (const row of rows) {
    for (const x of row) {
      rgba.set(x < 0 ? below : above, at);
      rgba[at + 3] = Math.round(255 * Math.min(1, Math.abs(x) / (most || 1)));
      at += 4;
    }
  }
  return toPng(rows[0].length, rows.length, rgba);
};

/* Part of an image (C·S·S bytes) as it is drawn. */
function cutOut(bytes, { in_channels: C, image_size: S }, negative, [top, left, side]) {
  const rgba = new Uint8Array(4 * side * side).fill(255);
  for (let i = 0; i < side * side; i++) {
    const from = S * (top + Math.floor(i / side)) + left + (i % side);
    for (let c = 0; c < 3; c++) {
      const value = bytes[S * S * (C === 3 ? c : 0) + from];
      rgba[4 * i + c] = negative ? 255 - value : value;
    }
  }
  return toPng(side, side, rgba);
}

/* Words. */

const num = (x) => say(x, 4);
const percent = (p) => `${(100 * p).toFixed(p > 0.001 && p < 0.01 ? 1 : 0)} %`;
/* z_0 with a small 0 */
const math = (text) => text.split(/(_\w+)/).map((part) => (part[0] === "_" ? make("sub", {}, part.slice(1)) : part));

/* The tour. c: what is known of the image, and the block and head that are looked at.
   Each step gives its formula; what it starts from; what it makes, row by row: symbols of
   the shape, numbers, what a column is; and how the number in a row and column comes about. */

const sumOf = (row, weight, bias, out) => {
  const products = dot(row, weight, out * row.length);
  return `${row.length} products of numbers and weights: ${num(products)}, and a bias: ${num(bias[out])}`;
};
const feature = (f) => `feature ${f}`;

const STEPS = [
  {
    title: "Patches",
    text: ({ n, patches }) => `The image is cut into n = ${n} patches. The C·P·P = ${patches[0].length} numbers of each become one row. Green stands for positive numbers, brown for negative ones.`,
    see: (c) => {
      const { patch_size: P, image_size: S } = c.sizes;
      return {
        formula: "image (C, H, W) → patches (n, C·P·P)", from: [], symbols: "(n, C·P·P)", made: c.patches,
        column: (f) => `channel ${Math.floor(f / (P * P))}, pixel ${f % (P * P)}`,
        how(t, f) {
          const [patch, channel] = [t - 1, Math.floor(f / (P * P))];
          const y = P * Math.floor(patch / (S / P)) + Math.floor((f % (P * P)) / P);
          const x = P * (patch % (S / P)) + (f % P);
          const byte = c.bytes[S * S * channel + S * y + x];
          return `The pixel in row ${y}, column ${x} is ${byte} of 255. Minus the mean, divided by the standard deviation: `
            + `(${num(byte / 255)} − ${num(c.mean[channel])}) / ${num(c.std[channel])}.`;
        },
      };
    },
  },
  {
    title: "Projection",
    text: ({ D }) => `One matrix E turns each patch into a token of D = ${D} numbers. All patches share it.`,
    see: (c) => ({
      formula: "x_p E + b", from: [["patches", c.patches]], symbols: "(n, D)", made: c.bare.slice(1), column: feature,
      how: (t, f) => `${sumOf(c.patches[t - 1], c.weights.embedding.proj.weight, c.weights.embedding.proj.bias, f)}.`,
    }),
  },
  {
    title: "Class token and positions",
    text: ({ N }) => `The class token, the same for every image, comes first: N = ${N}. Then each token gets the numbers of its position.`,
    see: (c) => {
      const { pos_embed } = c.weights.embedding;
      return {
        formula: "z_0 = [x_class; x_p E + b] + E_pos", symbols: "(N, D)", made: c.embedded, column: feature,
        from: [["tokens", c.bare], ["positions", table(c.N, (t) => pos_embed.slice(c.D * t, c.D * (t + 1)))]],
        how: (t, f) => `${num(c.bare[t][f])} of the ${t ? "patch" : "class token"} and ${num(pos_embed[c.D * t + f])} of the position.`,
      };
    },
  },
  {
    title: "Norm", inBlock: true,
    text: () => "LayerNorm makes a copy of each token with mean 0 and variance 1, then applies the gain γ and the bias β of each feature.",
    see: (c) => ({
      formula: `LN(z_${c.l})`, from: [[`z_${c.l}`, c.at.entered]], symbols: "(N, D)", made: c.at.normed, column: feature,
      how(t, f) {
        const [row, { weight, bias }] = [c.at.entered[t], c.weights.encoder.blocks[c.l].norm1];
        const mean = row.reduce((a, x) => a + x) / c.D;
        const variance = row.reduce((a, x) => a + (x - mean) ** 2, 0) / c.D;
        return `(${num(row[f])} − ${num(mean)}) / ${num(Math.sqrt(variance + c.sizes.eps))} · ${num(weight[f])} + ${num(bias[f])}: the token's mean and spread, then γ and β.`;
      },
    }),
  },
  {
    title: "Query, key, value", inBlock: true, ofHead: true,
    text: ({ width, head }) => `Three matrices make a query, a key and a value of each token. Head ${head} gets ${width} numbers of each.`,
    see: (c) => {
      const column = (f) => [Math.floor(f / c.width), f % c.width];
      const place = (f) => { const [part, d] = column(f); return c.D * part + c.width * c.head + d; };
      const { weight, bias } = c.weights.encoder.blocks[c.l].attn.qkv;
      return {
        formula: "q, k, v, side by side", from: [[`LN(z_${c.l})`, c.at.normed]], symbols: "(N, 3 · D_h)", thirds: true,
        made: c.at.qkv.map((row) => table(3 * c.width, (f) => row[place(f)])),
        column: (f) => `feature ${column(f)[1]} of its ${["query", "key", "value"][column(f)[0]]}`,
        how: (t, f) => `${sumOf(c.at.normed[t], weight, bias, place(f))}.`,
      };
    },
  },
  {
    title: "Attention weights", inBlock: true, ofHead: true,
    text: () => "Each query meets each key. A softmax turns the scores of a row into weights that add up to 1. On the image: the row of your token.",
    see: (c) => {
      const [q, k] = [0, 1].map((part) => c.of(part));
      return {
        formula: "A = softmax(Q Kᵀ / √D_h)", from: [["Q", q], ["K", k]], symbols: "(N, N)", kind: "weights",
        made: c.at.attention[c.head], column: (f) => `key of token ${c.named(f)}`,
        how(t, f) {
          const product = dot(q[t], k[f]);
          return `q · k = ${num(product)}, divided by √${c.width}: ${num(product / Math.sqrt(c.width))}. e to this power, divided by the sum over all ${c.N} keys.`;
        },
      };
    },
  },
  {
    title: "Heads joined", inBlock: true,
    text: ({ sizes }) => `Each head averages its values with its weights. The results of the ${sizes.num_heads} heads stand side by side, and W_O mixes them.`,
    see: (c) => {
      const { weight, bias } = c.weights.encoder.blocks[c.l].attn.proj;
      return {
        formula: "[A V of head 0, head 1, …] W_O + b", from: [["heads joined", c.at.merged]], symbols: "(N, D)",
        made: c.at.attended, column: feature,
        how: (t, f) => `${sumOf(c.at.merged[t], weight, bias, f)}. The ${c.D} numbers come from all heads.`,
      };
    },
  },
  {
    title: "Residual", inBlock: true,
    text: () => "What the attention found is added to the tokens as they were before the norm.",
    see: (c) => ({
      formula: `z′_${c.l + 1} = z_${c.l} + MSA(LN(z_${c.l}))`, symbols: "(N, D)", made: c.at.between, column: feature,
      from: [[`z_${c.l}`, c.at.entered], ["attention", c.at.attended]],
      how: (t, f) => `${num(c.at.entered[t][f])} + ${num(c.at.attended[t][f])}: the token, and what the attention adds.`,
    }),
  },
  {
    title: "MLP", inBlock: true,
    text: ({ sizes }) => `Each token on its own is normalized and goes through ${sizes.mlp_dim} hidden units. What they make is added too.`,
    see: (c) => ({
      formula: `z_${c.l + 1} = z′_${c.l + 1} + MLP(LN(z′_${c.l + 1}))`, symbols: "(N, D)", made: c.at.x, column: feature,
      from: [["hidden units", c.at.hidden], ["MLP", c.at.computed]],
      how: (t, f) => `${num(c.at.between[t][f])} + ${num(c.at.computed[t][f])}: the token, and what the MLP adds.`,
    }),
  },
  {
    title: "Last norm and guess", bars: true,
    text: ({ sizes }) => `After block ${sizes.depth} comes the last norm. From the class token alone the head makes a logit for each class, and a softmax turns them into probabilities.`,
    see: (c) => ({
      formula: `y = LN(z_${c.sizes.depth}) of token 0, then the head`, symbols: "(J,)", made: [[...c.last.logits]],
      from: [[`z_${c.sizes.depth}`, c.last.x], ["y", [c.last.read]]], column: (f) => c.classes[f],
      how: (t, f) => `${sumOf(c.last.read, c.weights.head.weight, c.weights.head.bias, f)}. e to this logit, divided by the sum over all classes: ${percent(softmax(c.last.logits)[f])}.`,
    }),
  },
];

/* What the steps read. passes: what run yields for the image; empty while it has not run. */
function contextOf({ sizes, weights, passes, image, bytes, mean, std, classes, block, head }) {
  const [D, n] = [sizes.dim, (sizes.image_size / sizes.patch_size) ** 2];
  const width = D / sizes.num_heads;
  const at = passes[block];
  const side = sizes.image_size / sizes.patch_size;
  return {
    sizes, weights, bytes, mean, std, classes, head, at, D, n, N: n + 1, width, l: block - 1,
    patches: patchify(image, sizes), bare: passes[0]?.bare, embedded: passes[0]?.x, last: passes[sizes.depth],
    of: (part) => at.qkv.map((row) => row.slice(D * part + width * head, D * part + width * (head + 1))),
    named: (t) => (t ? `${t} (row ${Math.floor((t - 1) / side)}, column ${(t - 1) % side})` : "0 (class token)"),
  };
}

/* How much tokens (N, D) differ: 0 if all are equal. Chapter 07. */
function difference(x) {
  const mean = x[0].map((_, j) => x.reduce((sum, row) => sum + row[j], 0) / x.length);
  let [apart, all] = [0, 0];
  for (const row of x) row.forEach((number, j) => { apart += (number - mean[j]) ** 2; all += number ** 2; });
  return Math.sqrt(apart / all);
}

/* [part, parameters, FLOPs] for an image; of products of matrices alone, as chapter 07 counts. */
function costs({ image_size: S, patch_size: P, in_channels: C, num_classes: J, dim: D, mlp_dim: M }, L) {
  const n = (S / P) ** 2, N = n + 1, pixels = C * P * P;
  return [
    ["patches", pixels * D + D, 2 * n * pixels * D],
    ["class token, positions", D + N * D, 0],
    ["attention", L * (4 * D * D + 4 * D), L * (8 * N * D * D + 4 * N * N * D)],
    ["MLP", L * (2 * D * M + M + D), L * 4 * N * D * M],
    ["LayerNorms", L * 4 * D + 2 * D, 0],
    ["head", D * J + J, 2 * D * J],
  ];
}

/* The figure. */

/* A picture in a square, with the row of the token and a column marked. */
function makePanel(name) {
  const image = draw("image", { width: 100, height: 100, preserveAspectRatio: "none" });
  const lines = draw("path", { class: "tour-lines" });
  const rings = ["tour-halo", "tour-row"].map((kind) => draw("rect", { class: kind }));
  const cells = ["tour-halo", "tour-cell"].map((kind) => draw("rect", { class: kind }));
  const svg = draw(
    "svg", { class: "tour-matrix", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" },
    draw("rect", { class: "tour-frame", width: 100, height: 100 }), image, lines, ...rings, ...cells,
  );
  const caption = make("figcaption");
  const place = (nodes, box) => {
    for (const node of nodes) {
      node.setAttribute("visibility", box ? "visible" : "hidden");
      ["x", "y", "width", "height"].forEach((key, i) => node.setAttribute(key, box ? box[i].toFixed(2) : "0"));
    }
  };
  return {
    element: make("figure", { class: name }, svg, caption), svg, image, lines, caption,
    ring: (box) => place(rings, box), cell: (box) => place(cells, box),
  };
}

/* Rows of words, a bar and a number. */
function makeBars(names) {
  const bars = names.map(() => make("i"));
  const says = names.map(() => make("span"));
  const rows = names.map((name, i) => make("div", {}, make("b", {}, name), make("span", { class: "tour-track" }, bars[i]), says[i]));
  return {
    element: make("div", { class: "tour-bars" }, ...rows), rows,
    show(i, share, words) {
      bars[i].style.transform = `scaleX(${share.toFixed(4)})`;
      says[i].textContent = words;
    },
  };
}

/* Two curves against the number of blocks. */
function makeCurves(L) {
  const px = (layer) => 30 + (layer * 300) / L, py = (value) => 10 + 150 * (1 - value);
  const text = (x, y, words, anchor) => draw("text", { x, y, "text-anchor": anchor }, words);
  const [other, line, dots, at, labels] = ["tour-other", "tour-curve", "tour-dots", "tour-at", "tour-labels"].map((name) =>
    draw(name === "tour-labels" ? "g" : "path", { class: name }));
  const grid = draw("path", { class: "tour-grid", d: [0, 0.5, 1].map((y) => `M24 ${py(y)}H336`).join("") });
  labels.append(
    ...[0, 0.5, 1].map((y) => text(18, py(y) + 4, String(y), "end")),
    ...namedLayers(L).map((i) => text(px(i), 182, String(i), "middle")),
  );
  const svg = draw("svg", { class: "tour-plot", viewBox: "-6 0 350 190" }, grid, labels, other, line, dots, at);
  const path = (values) => values.map((value, i) => `${i ? "L" : "M"}${px(i).toFixed(1)} ${py(value).toFixed(1)}`).join("");
  return {
    svg,
    layerAt: (x) => Math.max(0, Math.min(L, Math.round(((x * 350 - 36) / 300) * L))),
    show(chosen, rest, depth) {
      line.setAttribute("d", chosen ? path(chosen) : "");
      dots.setAttribute("d", chosen ? chosen.map((value, i) => `M${px(i).toFixed(1)} ${py(value).toFixed(1)}h0`).join("") : "");
      other.setAttribute("d", rest ? path(rest) : "");
      at.setAttribute("d", `M${px(depth).toFixed(1)} 10V160`);
    },
  };
}

function render({ model, el }) {
  const [sizes, classes, mean, std, negative] = ["sizes", "classes", "mean", "std", "negative"].map((key) => model.get(key));
  const { image_size: S, patch_size: P, in_channels: C, depth: L, num_heads: h } = sizes;
  const side = S / P, n = side * side;
  let all, labels, mine; // mine: the places in which images of the reader's stand
  function takeGiven() {
    all = bytesOf(model.get("images"));
    labels = [...model.get("labels")];
    mine = new Set();
  }
  takeGiven();
  const bytesAt = (i) => all.subarray(C * S * S * i, C * S * S * (i + 1));
  const named = (i) => `${i}${mine.has(i) ? ", your own" : labels[i] < 0 ? "" : `, ${classes[labels[i]]}`}`;
  const choose = (values) => put(model, values);
  const live = makeLive();
  let closed = false;

  // Controls.
  const view = makeChoice("View", [["tour", "The tour"], ["depth", "Depth and skips"]], (chosen) => choose({ view: chosen }));
  const stepChoice = makeChoice("Step", STEPS.map((_, i) => [i + 1, `${i + 1}`]), (chosen) => choose({ step: Number(chosen) }));
  const back = makeButton("‹ Previous", () => choose({ step: Math.max(1, model.get("step") - 1) }));
  const on = makeButton("Next ›", () => choose({ step: Math.min(STEPS.length, model.get("step") + 1) }));
  const image = makeSlider("image", { min: 0, max: labels.length - 1, step: 1 }, (i) => choose({ image: i }));
  const block = makeSlider("block", { min: 1, max: L, step: 1 }, (l) => choose({ block: l }));
  const head = makeSlider("head", { min: 0, max: h - 1, step: 1 }, (i) => choose({ head: i }));
  const classToken = makeButton("class token", () => choose({ token: 0 }));
  const depth = makeSlider("blocks:", { min: 0, max: L, step: 1 }, (l) => choose({ depth: l }));
  const skips = makeSwitch("skips", (is) => choose({ skips: is }));
  const keys = ["view", "step", "image", "token", "feature", "block", "head", "depth", "skips"];
  const reset = makeReset(model, keys, () => { takeGiven(); lookAgain(); });
  const own = makeOwnImage(S, S, (rgb) => { // in the place of the image that is shown
    const i = model.get("image");
    all.set(imageOf(rgb, sizes, negative), C * S * S * i);
    labels[i] = -1;
    mine.add(i);
    lookAgain();
  });

  // The tour.
  const photo = makePanel("tour-photo");
  const look = draw("image", { width: 100, height: 100, preserveAspectRatio: "none" }); // attention, over it
  photo.svg.append(look);
  photo.lines.setAttribute("d", table(side - 1, (i) => { const at = (100 * (i + 1)) / side; return `M${at.toFixed(2)} 0V100M0 ${at.toFixed(2)}H100`; }).join(""));
  const small = [makePanel("tour-small"), makePanel("tour-small")];
  const main = makePanel("tour-big");
  const bars = makeBars(classes);
  main.svg.removeAttribute("role"); // the picker tells what it shows
  main.svg.setAttribute("aria-hidden", "true");
  const picker = make("div", {
    class: "tour-main", tabindex: 0, role: "application",
    "aria-description": "The arrow keys move to another row and column.",
  });
  const title = make("p", { class: "tour-title" });
  const text = make("p", { class: "tour-text" });
  const how = make("p", { class: "tour-how" });
  const status = make("p", { class: "vit-hint", role: "alert" });
  const readout = makeReadout({ shape: "Shape", token: "Token", column: "Entry", number: "Number" });

  // Depth and skips.
  const curves = makeCurves(L);
  const plot = make("div", { class: "vit-plot tour-curves", role: "img", "aria-label": "How much the tokens differ after each block" }, curves.svg);
  const guess = makeReadout({ differ: "The tokens differ by", guess: "The guess" });
  const parts = costs(sizes, L).map(([name]) => name);
  const columns = [makeBars(parts), makeBars(parts)];
  const totals = [make("b"), make("b")];
  const counts = ["Parameters", "FLOPs for an image"].map((words, i) =>
    make("div", { class: "tour-counts" }, make("p", {}, `${words}: `, totals[i]), columns[i].element));

  const tourParts = [
    make("div", { class: "tour-strip" }, photo.element, ...small.map((panel) => panel.element)),
    make("figure", {}, picker, main.caption),
  ];
  const depthParts = [
    plot,
    make("p", { class: "vit-hint" }, "How much the tokens of the image differ after each block: 0 means that all are equal. Thick: your choice. Grey: the same with the skips the other way."),
    ...counts,
  ];
  const tourSays = [
    title, text, readout.element, how,
  ];
  stepChoice.element.classList.add("tour-steps");
  const tourControls = makeControls(stepChoice.element, back, on, classToken);
  const tourSliders = makeControls(block.element, head.element);
  const depthControls = makeControls(depth.element, skips.element);
  const depthSays = [
    guess.element,
    make("p", { class: "vit-hint" }, "The trained model is cut after so many blocks; the last norm and the head read what is there. FLOPs count the products of matrices. The skips add no parameter and no such product."),
  ];
  // What only one view has stands in slots, so that nothing of the other is kept there.
  const left = make("div", { class: "vit-left" });
  const [above, below] = [0, 1].map(() => make("div", { class: "tour-slot" }));
  const fill = (touring) => {
    left.replaceChildren(...(touring ? tourParts : depthParts));
    above.replaceChildren(...(touring ? [tourControls, ...tourSays] : [depthControls, ...depthSays]));
    below.replaceChildren(...(touring ? [tourSliders] : []));
  };
  const root = makeFigure(
    "tour-figure", "A tour through the encoder", left,
    make(
      "div", { class: "vit-right" }, makeControls(view.element), above,
      makeControls(image.element, own, reset), below, status, live.element,
    ),
  );
  for (const row of [image.element, block.element, head.element]) row.classList.add("tour-slider");

  // The model.
  let known = { image: -1, passes: [], row: null }; // what the ViT has made of an image
  let running = false;
  let taken = 0; // how often images were exchanged
  function lookAgain() {
    taken += 1;
    known = { image: -1, passes: [], row: null };
    drawn = "";
    update();
  }
  const normalized = (i) => normalizedImage(bytesAt(i), sizes, mean, std);
  const short = ({ x, logits }) => ({ logits, differ: difference(x) });
  const fetched = makeWeights(model, (words) => { status.textContent = words; });
  async function compute() {
    if (running) return;
    running = true;
    let weights = null;
    try {
      weights = await fetched.get();
      for (let i = model.get("image"); known.image !== i && !closed; i = model.get("image")) {
        const passes = [], row = [], before = taken;
        for await (const pass of sliced(run(normalized(i), sizes, weights))) if (pass) passes.push(pass);
        for await (const pass of sliced(run(normalized(i), sizes, weights, false))) if (pass) row.push(short(pass));
        if (before === taken) known = { image: i, weights, passes, row, skips: passes.map(short) };
      }
      status.textContent = "";
      running = false;
      if (!closed) update();
    } catch (problem) {
      console.error(problem);
      running = false;
      choose({ view: "tour", step: 1 });
      const why = weights ? "The model could not be run" : "The weights of the model could not be loaded";
      status.textContent = `${why}, so only the first step can be shown.${weights ? "" : " Are you online?"} Go to the next step to try again.`;
    }
  }

  // What is shown.
  let filled; // the view
  let drawn = ""; // what the pictures were drawn from
  let seen; // the step that is shown
  let now; // what it reads
  let patch; // the patch that is enlarged

  function show(step, i) {
    const [l, head] = [model.get("block"), model.get("head")];
    now = contextOf({ sizes, ...known, passes: known.image === i ? known.passes : [], image: normalized(i), bytes: bytesAt(i), mean, std, classes, block: l, head });
    const { title: words, text: says, see, bars: asBars, inBlock } = STEPS[step - 1];
    seen = { ...see(now), step };
    title.textContent = `${step} of ${STEPS.length}: ${words}${inBlock ? `, block ${l}` : ""}`;
    text.replaceChildren(...math(says(now)));
    main.caption.replaceChildren(...math(seen.formula));
    photo.image.setAttribute("href", cutOut(bytesAt(i), sizes, negative, [0, 0, S]));
    photo.caption.textContent = negative ? "the negative" : "the image";
    small.forEach((panel, at) => {
      const [name, rows] = seen.from[at] ?? [];
      panel.element.hidden = step > 1 && !rows;
      panel.image.setAttribute("href", rows ? toPictureOf(rows, "signed") : "");
      panel.caption.replaceChildren(...(rows ? math(name) : []));
      panel.svg.setAttribute("aria-label", rows ? `${name}: ${rows.length} rows, ${rows[0].length} columns` : "not shown in this step");
      panel.rows = rows;
    });
    if (step === 1) {
      small[1].element.hidden = true;
      small[0].caption.textContent = "the patch";
      patch = -1;
    }
    picker.replaceChildren(asBars ? bars.element : main.svg);
    if (asBars) {
      const p = softmax(seen.made[0]);
      classes.forEach((_, j) => bars.show(j, p[j], percent(p[j])));
    } else {
      main.image.setAttribute("href", toPictureOf(seen.made, seen.kind ?? "signed"));
      main.lines.setAttribute("d", seen.thirds ? "M33.33 0V100M66.67 0V100" : "");
    }
  }

  const rowOf = (t) => t - firstToken();
  const boxOf = (row, rows) => [0, (100 * row) / rows, 100, 100 / rows];
  const patchBox = (t) => (t ? [(100 * ((t - 1) % side)) / side, (100 * Math.floor((t - 1) / side)) / side, 100 / side, 100 / side] : null);

  function point() {
    const { bars: asBars } = STEPS[seen.step - 1];
    const t = asBars ? 0 : Math.max(firstToken(), model.get("token"));
    const columns = seen.made[0].length;
    const f = Math.min(model.get("feature"), columns - 1);
    const row = rowOf(t);
    photo.ring(patchBox(t));
    photo.cell(null);
    photo.svg.setAttribute("aria-label", `The image${labels[model.get("image")] < 0 ? "" : ` (${classes[labels[model.get("image")]]})`}, cut into ${side} × ${side} patches`);
    small.forEach((panel) => {
      panel.cell(null);
      panel.ring(panel.rows?.length > 1 ? boxOf(panel.rows.length === n ? row : t, panel.rows.length) : null);
    });
    if (seen.step === 1 && patch !== t) {
      patch = t;
      const box = [P * Math.floor((t - 1) / side), P * ((t - 1) % side), P];
      small[0].image.setAttribute("href", cutOut(now.bytes, sizes, negative, box));
      small[0].svg.setAttribute("aria-label", `The patch of token ${now.named(t)}, enlarged`);
    }
    if (seen.step === 1) { // its pixel
      const at = f % (P * P);
      small[0].cell([(100 * (at % P)) / P, (100 * Math.floor(at / P)) / P, 100 / P, 100 / P]);
    }
    const over = seen.kind === "weights" ? toPictureOf(table(side, (y) => seen.made[t].slice(1 + side * y, 1 + side * (y + 1))), "weights") : "";
    if (look.getAttribute("href") !== over) look.setAttribute("href", over);
    look.setAttribute("visibility", over ? "visible" : "hidden");
    main.ring(asBars ? null : boxOf(row, seen.made.length));
    main.cell(asBars ? null : [(100 * f) / columns, (100 * row) / seen.made.length, 100 / columns, 100 / seen.made.length]);
    bars.rows.forEach((node, j) => node.setAttribute("class", asBars && j === f ? "tour-now" : ""));
    const number = seen.made[row][f];
    const { values } = readout;
    const shape = asBars ? `(${columns},)` : `(${seen.made.length}, ${columns})`;
    values.shape.replaceChildren(...math(seen.symbols), ` = ${shape}`);
    values.token.textContent = now.named(t);
    values.column.textContent = seen.column(f);
    values.number.textContent = num(number);
    how.textContent = seen.how(t, f);
    picker.setAttribute("aria-label", `Step ${seen.step}: ${STEPS[seen.step - 1].title}, ${seen.made.length} rows and ${columns} columns of numbers`);
    live.say(`Step ${title.textContent}. Token ${now.named(t)}, ${seen.column(f)}: ${values.number.textContent}. ${how.textContent}`);
  }

  function showDepth() {
    const [l, is] = [model.get("depth"), model.get("skips")];
    const ready = known.image === model.get("image");
    const [chosen, rest] = ready ? (is ? [known.skips, known.row] : [known.row, known.skips]) : [];
    curves.show(chosen?.map(({ differ }) => differ), rest?.map(({ differ }) => differ), l);
    const rows = costs(sizes, l);
    [1, 2].forEach((which) => {
      const sum = rows.reduce((total, row) => total + row[which], 0);
      rows.forEach((row, i) => columns[which - 1].show(i, row[which] / sum, spaced(row[which])));
      totals[which - 1].textContent = spaced(sum);
    });
    const { values } = guess;
    if (!ready) values.differ.textContent = values.guess.textContent = "…";
    if (!ready) return;
    const p = softmax(chosen[l].logits), best = p.indexOf(Math.max(...p)), label = labels[model.get("image")];
    values.differ.textContent = chosen[l].differ < 1e-4 ? "less than 0.0001" : num(chosen[l].differ);
    values.guess.textContent = `${classes[best]}, ${percent(p[best])}${label < 0 ? "" : ` (label: ${classes[label]})`}`;
    const words = `${is ? "With" : "Without"} skips, after ${l} of ${L} blocks`;
    plot.setAttribute("aria-label", `${words}: the tokens differ by ${values.differ.textContent}; two curves, from 0 to ${L} blocks`);
    live.say(`${words}: the tokens differ by ${values.differ.textContent}. The guess: ${values.guess.textContent}.`);
  }

  function update() {
    const [kind, i, step] = ["view", "image", "step"].map((key) => model.get(key));
    const touring = kind === "tour";
    if (kind !== filled) fill(touring);
    filled = kind;
    const { inBlock, ofHead } = STEPS[step - 1];
    view.show(kind);
    stepChoice.show(step);
    classToken.disabled = step < 3; // which cut and project patches alone
    back.disabled = step === 1;
    on.disabled = step === STEPS.length;
    image.show(i, named(i));
    block.show(model.get("block"), String(model.get("block")));
    head.show(model.get("head"), String(model.get("head")));
    block.element.style.visibility = inBlock ? "" : "hidden";
    head.element.style.visibility = ofHead ? "" : "hidden";
    depth.show(model.get("depth"), `${model.get("depth")} of ${L}`);
    skips.show(model.get("skips"));
    const ready = known.image === i;
    if (!ready && !(touring && step === 1)) compute();
    if (!touring) return showDepth();
    if (!ready && step > 1) return;
    const asked = `${i} ${step} ${model.get("block")} ${model.get("head")}`;
    if (asked !== drawn) show(step, i);
    drawn = asked;
    point();
  }

  // What the reader touches.
  const firstToken = () => (seen.step < 3 ? 1 : 0); // the class token is no patch
  const at = ([t, f]) => {
    const columns = seen.made[0].length;
    choose({
      token: Math.max(firstToken(), Math.min(n, t)), feature: Math.max(0, Math.min(columns - 1, f)),
    });
  };
  const touch = (event) => {
    const [x, y] = placeOn(picker, event);
    if (STEPS[seen.step - 1].bars) choose({ feature: Math.floor(y * classes.length) });
    else at([Math.floor(y * seen.made.length) + firstToken(), Math.floor(x * seen.made[0].length)]);
  };
  const touchPhoto = (event) => {
    const [x, y] = placeOn(photo.svg, event);
    choose({ token: 1 + side * Math.floor(y * side) + Math.floor(x * side) });
  };
  const touchPlot = (event) => choose({ depth: curves.layerAt(placeOn(curves.svg, event)[0]) });
  onTouch(picker, touch);
  onTouch(photo.svg, touchPhoto);
  onTouch(plot, touchPlot);
  onArrows(picker, (down, right) => {
    const f = Math.min(model.get("feature"), seen.made[0].length - 1);
    if (STEPS[seen.step - 1].bars) choose({ feature: Math.max(0, Math.min(classes.length - 1, f + down + right)) });
    else at([Math.max(firstToken(), model.get("token")) + down, f + right]);
  });
  el.append(root);
  const end = follow(model, keys, update);
  return () => { closed = true; fetched.stop(); end(); };
}

export { STEPS, contextOf, costs, difference, makeCurves, toPng };
export default { render };
