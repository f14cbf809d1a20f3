/* Front end of PatchExplorer: a pixel is touched, the image is cut into tokens, its
   patches are shuffled, and the class token looks at all of them. An image is a list of
   numbers in the order of a tensor (C, H, W). */

const D = 9; // numbers a token: three for each colour

/* For each patch the places in the image of its numbers: channel, row, column. */
function cutRight(H, W, P) {
  return Array.from({ length: (H / P) * (W / P) }, (_, patch) => {
    const top = P * Math.floor(patch / (W / P)), left = P * (patch % (W / P));
    return Array.from({ length: 3 * P * P }, (_, i) => {
      const [c, y, x] = [Math.floor(i / (P * P)), Math.floor(i / P) % P, i % P];
      return H * W * c + W * (top + y) + left + x;
    });
  });
}

/* The same shape from a bare reshape: the reading order in equal pieces. */
const cutWrong = (H, W, P) =>
  Array.from({ length: (H / P) * (W / P) }, (_, patch) =>
    Array.from({ length: 3 * P * P }, (_, i) => 3 * P * P * patch + i));

const CUTS = { patchify: cutRight, reshape: cutWrong };

/* Of each colour the mean, right minus left and below minus above. */
function project(numbers, P) {
  const token = Array(D).fill(0);
  numbers.forEach((number, i) => {
    const [c, y, x] = [Math.floor(i / (P * P)), Math.floor(i / P) % P, i % P];
    token[3 * c] += number / (P * P);
    token[3 * c + 1] += (Math.sign(x - (P - 1) / 2) * number) / (P * P);
    token[3 * c + 2] += (Math.sign(y - (P - 1) / 2) * number) / (P * P);
  });
  return token;
}

/* The tokens (N, D): the class token, then the patches; and positions, if wanted. */
function embed(image, [H, W], P, cut, positions) {
  const classToken = Array.from({ length: D }, (_, k) => Math.cos(k) / 2);
  const patches = CUTS[cut](H, W, P).map((places) => project(places.map((at) => image[at]), P));
  return [classToken, ...patches].map((token, i) =>
    token.map((number, k) => number + (positions ? Math.sin((k + 1) * i * 0.7 + k) : 0)));
}

/* What attention gives the class token: one head, whose scores are the products of tokens. */
function attend(tokens) {
  const [query] = tokens;
  const weights = softmax(tokens.map((token) => dot(query, token)));
  return query.map((_, k) => tokens.reduce((y, token, i) => y + weights[i] * token[k], 0));
}

/* The image with patch order[i] at place i. An order of another patch size is none. */
function shuffled(image, [H, W], P, order) {
  const moved = [...image];
  const places = cutRight(H, W, P);
  if (order.length !== places.length) return moved;
  order.forEach((from, to) => places[to].forEach((at, i) => { moved[at] = image[places[from][i]]; }));
  return moved;
}

/* The numbers of an image with mean 0 and standard deviation 1. */
function normalized(image) {
  const mean = image.reduce((a, b) => a + b) / image.length;
  const deviation = Math.sqrt(image.reduce((sum, x) => sum + (x - mean) ** 2, 0) / image.length);
  return image.map((x) => (x - mean) / (deviation || 1));
}

/* The pixel becomes dark where it was bright, and bright where it was dark. */
function touched(image, [H, W], [y, x]) {
  const changed = [...image];
  for (let c = 0; c < 3; c++) {
    const at = H * W * c + W * y + x;
    changed[at] = image[at] < 0 ? 2 : -2;
  }
  return changed;
}

const farthest = (a, b) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));

function makeView(model, [H, W]) {
  const image = draw("image", { width: W, height: H, preserveAspectRatio: "none", href: model.get("picture") });
  const others = draw("path", { class: "patch-others" });
  const grid = draw("path", { class: "patch-grid" });
  const halo = draw("rect", { class: "patch-halo", width: 1, height: 1 });
  const pixel = draw("rect", { class: "patch-pixel", width: 1, height: 1 });
  const svg = draw(
    "svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, image, others, grid, halo, pixel,
  );
  const element = make("div", {
    class: "patch-picture", tabindex: 0, role: "application",
    "aria-label": `${model.get("alt")}, in ${H} rows and ${W} columns of pixels`,
    "aria-description": "The arrow keys move the touched pixel.",
  }, svg);
  return { element, svg, image, others, grid, pixels: [halo, pixel] };
}

function render({ model, el }) {
  const size = model.get("size");
  const [H, W] = size;
  const view = makeView(model, size);
  const live = makeLive();
  const choose = (values) => put(model, values);
  const parts = (P) => (H / P) * (W / P);

  const sizes = makeChoice(
    "Patch size", model.get("patch_sizes").map((P) => [P, `P = ${P}`]),
    (P) => choose({ patch_size: Number(P), order: [] }),
  );
  const cut = makeChoice(
    "Cut by", [["patchify", "patchify"], ["reshape", "bare reshape"]], (chosen) => choose({ cut: chosen }),
  );
  const shuffle = makeButton("Shuffle the patches", () => {
    const order = Array.from({ length: parts(model.get("patch_size")) }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    choose({ order });
  });
  const positions = makeSwitch("add positions", (on) => choose({ positions: on }));
  const own = makeOwnImage(H, W, (bytes, picture) => choose({ pixels: toText(bytes), picture }));
  const keys = ["picture", "pixels", "patch_size", "pixel", "order", "positions", "cut"];
  const readout = makeReadout({
    count: "Patches, tokens", cost: "Scores of a head", pixel: "Touched pixel",
    change: "Tokens that it changes", tell: "Output at the class token",
  });
  const strip = draw("svg", { class: "patch-strip", role: "img" });
  const was = draw("path", { class: "patch-was" }), now = draw("path", { class: "patch-now" });
  const zero = draw("path", { class: "patch-zero", d: "M0 1H9" });
  const bars = draw(
    "svg", { class: "patch-bars", viewBox: "0 0 9 2", preserveAspectRatio: "none", "aria-hidden": "true" },
    now, was, zero,
  );
  const root = makeFigure(
    "patch-figure", "From pixels to tokens",
    make(
      "div", { class: "vit-left" }, view.element,
      makeControls(make("p", { class: "vit-hint" }, "Touch a pixel, or use the arrow keys.")),
      makeControls(sizes.element, cut.element, shuffle, positions.element, own, makeReset(model, keys)),
    ),
    make(
      "div", { class: "vit-right" }, readout.element, live.element,
      make(
        "div", {}, strip,
        make("p", { class: "vit-hint" }, "The tokens in their order, the class token first. Ringed: changed."),
      ),
      make(
        "div", {}, bars,
        make("p", { class: "vit-hint" }, "The class token's output, nine numbers. Dashed: before the shuffle."),
      ),
    ),
  );
  let cells = [];
  let known = {}; // what depends on more than the pixel, and on what it depends

  function prepare() {
    const on = ["pixels", "patch_size", "order", "positions", "cut"].map((key) => model.get(key));
    if (known.on && on.every((value, i) => value === known.on[i])) return known;
    const [pixels, P, order, withPositions, how] = on;
    const raw = toImage(pixels);
    const first = normalized(raw);
    const image = shuffled(first, size, P, order);
    const tokens = embed(image, size, P, how, withPositions);
    known = {
      on, P, image, tokens, places: CUTS[how](H, W, P),
      before: attend(embed(first, size, P, how, withPositions)), after: attend(tokens),
    };
    drawTokens(embed(shuffled(raw, size, P, order), size, P, how, false));
    view.grid.setAttribute("d",
      Array.from({ length: H / P - 1 }, (_, i) => `M0 ${(i + 1) * P}H${W}`).join("") +
      Array.from({ length: W / P - 1 }, (_, i) => `M${(i + 1) * P} 0V${H}`).join(""));
    view.image.setAttribute("href", order.length === H * W / P / P ? toPicture(shuffled(raw, size, P, order), H, W) : model.get("picture"));
    return known;
  }

  function drawTokens(bare) {
    const columns = Math.min(25, bare.length);
    strip.setAttribute("viewBox", `0 0 ${columns} ${Math.ceil(bare.length / columns)}`);
    cells = bare.map((token, i) => {
      const colour = [0, 3, 6].map((k) => Math.round(255 * Math.max(0, Math.min(1, token[k]))));
      return draw("rect", {
        x: (i % columns) + 0.1, y: Math.floor(i / columns) + 0.1, width: 0.8, height: 0.8,
        fill: i ? `rgb(${colour})` : "#56b4e9",
      });
    });
    strip.replaceChildren(...cells);
  }

  function update() {
    const { P, image, tokens, places, before, after } = prepare();
    const [y, x] = model.get("pixel");
    const other = embed(touched(image, size, [y, x]), size, P, model.get("cut"), model.get("positions"));
    const changed = tokens.map((token, i) => farthest(token, other[i]) > 1e-9);
    const list = changed.flatMap((is, i) => (is ? [i] : []));
    cells.forEach((cell, i) => cell.classList.toggle("patch-changed", changed[i]));

    // All pixels of which no number stands in a changed token are dimmed.
    const held = new Set(list.flatMap((token) => places[token - 1].map((at) => at % (H * W))));
    let dimmed = "";
    for (let row = 0; row < H; row++) {
      for (let column = 0, from = 0; column <= W; column++) {
        if (column < W && !held.has(W * row + column)) continue;
        if (column > from) dimmed += `M${from} ${row}h${column - from}v1h${from - column}z`;
        from = column + 1;
      }
    }
    view.others.setAttribute("d", dimmed);
    for (const mark of view.pixels) {
      mark.setAttribute("x", x);
      mark.setAttribute("y", y);
    }

    const height = (value) => (1 - value / Math.max(...before.map(Math.abs), ...after.map(Math.abs))).toFixed(4);
    now.setAttribute("d", after.map((v, k) => `M${k + 0.15} 1V${height(v)}h.7V1z`).join(""));
    was.setAttribute("d", before.map((v, k) => `M${k} ${height(v)}h1`).join(""));

    sizes.show(P);
    cut.show(model.get("cut"));
    positions.show(model.get("positions"));
    const N = tokens.length, n = N - 1;
    const isShuffled = model.get("order").length === n;
    const apart = farthest(before, after);
    const { values } = readout;
    values.count.textContent = `n = ${n}, N = ${N}`;
    values.cost.textContent = `N² = ${spaced(N * N)}`;
    values.pixel.textContent = `row ${y}, column ${x}`;
    values.change.textContent = `${list.length} of ${N}: ${list.join(", ")}`;
    values.tell.textContent = isShuffled ? `changed by up to ${apart.toFixed(5)}` : "not shuffled yet";
    strip.setAttribute("aria-label", `${N} tokens; those that change: ${list.join(", ")}`);
    live.say(
      `Patch size ${P}: ${n} patches, ${N} tokens, ${spaced(N * N)} scores. Pixel at row ${y}, column ${x}: ` +
        `it changes ${list.length} of the tokens, ${list.join(", ")}.` +
        (isShuffled ? ` Output at the class token: ${values.tell.textContent}.` : ""),
    );
  }

  const pixelAt = (event) => {
    const [x, y] = placeOn(view.svg, event);
    choose({ pixel: [Math.floor(y * H), Math.floor(x * W)] });
  };
  onTouch(view.element, pixelAt);
  onArrows(view.element, (down, right) => {
    const [y, x] = model.get("pixel");
    choose({
      pixel: [Math.max(0, Math.min(H - 1, y + down)), Math.max(0, Math.min(W - 1, x + right))],
    });
  });
  el.append(root);
  return follow(model, keys, update);
}

export { attend, embed, normalized, shuffled, touched };
export default { render };
