/* Front end of RolloutExplorer: a row of each layer's attention, and the same row of
   rollout through the layers up to there. */

/* Weights (L, N, N) from base64: the low bytes of all, then the high ones. They are whole
   parts, 10 000 in a row, less those of the row above; odd numbers are negative. */
function readTables(text, [L, N]) {
  const bytes = bytesOf(text);
  const parts = Array(N);
  return Array.from({ length: L }, (_, layer) => {
    parts.fill(0);
    return Array.from({ length: N }, (_, i) => Float64Array.from(parts, (above, j) => {
      const at = N * (N * layer + i) + j;
      const code = bytes[at] + 256 * bytes[at + L * N * N];
      parts[j] = above + (code % 2 ? -(code + 1) / 2 : code / 2);
      return parts[j] / 10000;
    }));
  });
}

/* Rollout through layer 0 alone, layers 0 and 1, and so on. layers: (L, N, N), means over
   the heads. share: of the identity in each layer. */
function rollOut(layers, share) {
  const N = layers[0].length;
  let before = Array.from({ length: N }, (_, i) =>
    Float64Array.from({ length: N }, (_, j) => Number(i === j)));
  return layers.map((layer) => {
    before = layer.map((row, i) => {
      const sum = before[i].map((number) => share * number);
      row.forEach((weight, k) => {
        const part = (1 - share) * weight;
        for (let j = 0; j < N; j++) sum[j] += part * before[k][j];
      });
      return sum;
    });
    return before;
  });
}

/* The mean over the heads. tables: (h, N, N). */
const meanOf = (tables) => tables[0].map((row, i) =>
  row.map((_, j) => tables.reduce((sum, of) => sum + of[i][j], 0) / tables.length));

/* How far the rows of a table are from their mean row: 0 if all are equal, and near 1 if
   they have nothing in common. */
function rowsApart(table) {
  const N = table.length;
  const mean = table[0].map((_, j) => table.reduce((sum, row) => sum + row[j], 0) / N);
  return table.reduce((sum, row) =>
    sum + row.reduce((far, number, j) => far + Math.abs(number - mean[j]), 0) / 2, 0) / N;
}

/* The class token as a square, and the image with a cell a patch above it. around: what
   the image stands in. */
function makeMap(side, around = (svg) => svg) {
  const cell = (i) => draw("rect", { x: i % side, y: Math.floor(i / side), width: 1, height: 1 });
  const cells = Array.from({ length: side * side }, (_, i) => cell(i));
  const rings = ["roll-halo", "roll-ring"].map((name) => draw("rect", { class: name, width: 1, height: 1 }));
  const image = draw("image", { width: side, height: side, preserveAspectRatio: "none" });
  const svg = draw(
    "svg", { viewBox: `0 0 ${side} ${side}` }, image, draw("g", { class: "roll-cells" }, ...cells), ...rings,
  );
  const square = draw("rect", { width: 1, height: 1 });
  const token = draw(
    "svg", { class: "roll-token", viewBox: "0 0 1 1", "aria-hidden": "true" },
    draw("g", { class: "roll-cells" }, square),
  );
  const [words, range] = [make("span"), make("span")];
  const title = make("figcaption");
  const element = make(
    "figure", { class: "roll-map" }, title, make("div", { class: "roll-class" }, token, words),
    around(svg), make("p", { class: "vit-hint" }, range),
  );
  return { element, title, svg, image, token, square, words, range, cells, rings };
}

/* What is compared, a column for the layer's attention and one for rollout. */
function makeComparison(terms) {
  const values = {};
  const rows = Object.entries(terms).map(([key, term]) => {
    values[key] = [0, 1].map((i) => make("td", { "data-value": `${key} ${i}` }));
    return make("tr", {}, make("th", { scope: "row" }, term), ...values[key]);
  });
  const heads = ["attention", "rollout"].map((text) => make("th", { scope: "col" }, text));
  const element = make(
    "table", {}, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows),
  );
  return { element, values };
}

function render({ model, el }) {
  const [L, N] = model.get("sizes");
  const side = Math.sqrt(N - 1);
  const names = model.get("names");
  const live = makeLive();
  const choose = (values) => put(model, values);
  let patch = Math.floor((N - 1) / 2) + 1; // the one in the middle, until one is touched

  const picker = make("div", {
    class: "roll-picture", tabindex: 0, role: "application",
    "aria-description": "The arrow keys move the query.",
  });
  const within = (svg) => {
    svg.setAttribute("aria-hidden", "true");
    picker.append(svg);
    return picker;
  };
  const maps = [makeMap(side, within), makeMap(side)];
  function look(href, alt) {
    for (const map of maps) map.image.setAttribute("href", href);
    picker.setAttribute("aria-label", `${alt}, in ${side} rows and ${side} columns of patches`);
  }
  maps[1].svg.setAttribute("role", "img");

  const layer = makeSlider("layer", { min: 0, max: L - 1, step: 1 }, (value) => choose({ layer: value }));
  const asks = makeChoice("Query", [["token", "class token"], ["patch", "a patch"]], (kind) => {
    choose({ query: kind === "token" ? 0 : patch });
  });
  const named = (words, { element }) => make("div", { class: "roll-named" }, make("span", {}, words), element);
  const identity = makeSwitch("identity in rollout", (on) => choose({ identity: on }));
  const whose = makeChoice("Model", names.map((name) => [name, name]), (name) => choose({ chosen: name }));
  const models = named("model", whose);
  const shades = makeChoice("Shades", [["zero", "from 0"], ["stretched", "stretched"]], (kind) => {
    choose({ stretched: kind === "stretched" });
  });
  const keys = ["layer", "query", "identity", "chosen", "stretched"];
  const reset = makeReset(model, keys, () => {
    patch = Math.floor((N - 1) / 2) + 1;
    showGiven();
  });

  // An image of the reader's own goes through the model of the first name.
  const vit = model.get("vit");
  const status = make("p", { class: "vit-hint", role: "alert" });
  const fetched = makeWeights(model, (words) => { status.textContent = words; });
  let own = null; // its layers (L, N, N)
  let taken = 0; // how often an image was chosen
  function showGiven() {
    taken += 1;
    own = null;
    status.textContent = "";
    look(model.get("picture"), model.get("alt"));
  }
  async function showOwn(bytes) {
    taken += 1;
    const before = taken;
    const { sizes, mean, std, negative } = vit;
    const { image_size: S, in_channels: C } = sizes;
    const image = normalizedImage(bytes, sizes, mean, std);
    try {
      const weights = await fetched.get();
      const layers = [];
      for await (const pass of sliced(run(image, sizes, weights))) if (pass?.attention) layers.push(meanOf(pass.attention));
      if (before !== taken) return;
      own = layers;
      status.textContent = "";
      const seen = negative ? bytes.map((byte) => 255 - byte) : bytes;
      const rgb = (i) => [0, 1, 2].map((c) => seen[S * S * (C === 1 ? 0 : c) + i]);
      look(fadedPicture(rgb, S, S), "an image of your own");
      update();
    } catch (problem) {
      console.error(problem);
      if (before === taken) status.textContent = "The weights of the model could not be loaded, so your image cannot be shown. Are you online? Choose it again to try again.";
    }
  }
  const ownButton = vit.sizes
    ? makeOwnImage(vit.sizes.image_size, vit.sizes.image_size, (rgb) => showOwn(imageOf(rgb, vit.sizes, vit.negative)))
    : "";
  const table = makeComparison({
    most: "largest, of the patches", place: "its row, column", own: "own share", apart: "rows differ by",
  });
  const root = makeFigure(
    "roll-figure", "Attention and rollout, layer by layer",
    make(
      "div", { class: "vit-left" },
      make("div", { class: "vit-plot roll-maps" }, ...maps.map((map) => map.element)),
      make("p", { class: "vit-hint" }, "Purple: what the query gets from each token. Ringed: the query. Each map has a scale of its own."),
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(
        layer.element, named("query", asks), models, named("shades", shades),
        identity.element, ownButton, reset,
      ),
      status,
      table.element, live.element,
      make("p", { class: "vit-hint" }, `Even weights are ${(1 / N).toFixed(3)} for each of ${N} tokens. Own share: what the query gets from itself. Rows differ by 0 where all queries get the same, by nearly 1 where they have nothing in common.`),
    ),
  );

  const layersOf = makeParts(model.get("maps"), (text) => readTables(text, [L, N]), () => update(), (name) => {
    put(model, { chosen: shown });
    status.textContent = `“${name}” could not be loaded.`;
  });
  let shown; // the name of what is on the maps
  const rolled = new Map(); // layers → by share
  function tablesOf(name, share) {
    const layers = own ?? layersOf(name);
    if (!layers) return null;
    if (!rolled.has(layers)) rolled.set(layers, {});
    return [layers, rolled.get(layers)[share] ??= rollOut(layers, share)];
  }
  const apart = new Map();
  const rowsApartOf = (found) => {
    if (!apart.has(found)) apart.set(found, rowsApart(found));
    return apart.get(found);
  };
  const rowAndColumn = (i) => [Math.floor((i - 1) / side), (i - 1) % side];
  const place = (i) => `row ${rowAndColumn(i)[0]}, column ${rowAndColumn(i)[1]}`;

  function show(map, row, query, stretched) {
    const patches = row.slice(1);
    const [low, high] = [Math.min(...patches), Math.max(...patches)];
    const from = stretched ? low : 0;
    const shade = (number) => (0.85 * Math.max(0, Math.min(1, (number - from) / (high - from || 1)))).toFixed(3);
    const fill = (node, number) => {
      const opacity = shade(number);
      if (node.getAttribute("fill-opacity") !== opacity) node.setAttribute("fill-opacity", opacity);
    };
    map.cells.forEach((cell, i) => fill(cell, patches[i]));
    fill(map.square, row[0]);
    map.words.textContent = `class token ${row[0].toFixed(3)}`;
    map.range.textContent = `patches ${low.toFixed(3)}–${high.toFixed(3)}`;
    map.token.classList.toggle("roll-asks", query === 0);
    for (const ring of map.rings) {
      ring.setAttribute("x", (query - 1) % side);
      ring.setAttribute("y", Math.floor((query - 1) / side));
      ring.setAttribute("visibility", query ? "visible" : "hidden");
    }
    return [high, patches.indexOf(high) + 1];
  }

  function update() {
    const [at, query, on, name, stretched] = keys.map((key) => model.get(key));
    if (query) patch = query;
    whose.show(name);
    const tables = tablesOf(name, on ? 0.5 : 0);
    if (!tables) return;
    if (shown !== name) status.textContent = "";
    shown = name;
    const found = tables.map((all) => all[at]);
    const who = query ? `the patch at ${place(query)}` : "the class token";
    maps[0].title.textContent = `Attention, layer ${at}`;
    maps[1].title.textContent = at ? `Rollout, layers 0–${at}` : "Rollout, layer 0";
    const said = found.map((all, i) => {
      const [high, most] = show(maps[i], all[query], query, stretched);
      table.values.most[i].textContent = high.toFixed(3);
      table.values.place[i].textContent = rowAndColumn(most).join(", ");
      table.values.own[i].textContent = all[query][query].toFixed(3);
      table.values.apart[i].textContent = rowsApartOf(all).toFixed(3);
      return `${high.toFixed(3)} from the patch at ${place(most)}; rows differ by ${table.values.apart[i].textContent}`;
    });
    maps[1].svg.setAttribute("aria-label", `${maps[1].title.textContent}: at most ${said[1]}`);
    layer.show(at, String(at));
    asks.show(query ? "patch" : "token");
    identity.show(on);
    models.hidden = own !== null;
    shades.show(stretched ? "stretched" : "zero");
    live.say(
      `${own ? "Your own image" : name}, layer ${at}, asked by ${who}. Attention: at most ${said[0]}.` +
        ` Rollout ${on ? "with" : "without"} the identity: at most ${said[1]}.`,
    );
  }

  const touch = (svg) => (event) => {
    const [x, y] = placeOn(svg, event);
    choose({ query: 1 + side * Math.floor(y * side) + Math.floor(x * side) });
  };
  for (const { svg, token } of maps) {
    onTouch(svg, touch(svg));
    token.addEventListener("click", () => choose({ query: 0 }));
  }
  onArrows(picker, (down, right) => {
    const from = (model.get("query") || patch) - 1;
    const row = Math.max(0, Math.min(side - 1, Math.floor(from / side) + down));
    const column = Math.max(0, Math.min(side - 1, (from % side) + right));
    choose({ query: 1 + side * row + column });
  });
  showGiven();
  el.append(root);
  const end = follow(model, keys, update);
  return () => { taken += 1; fetched.stop(); end(); };
}

export { readTables, rollOut, rowsApart };
export default { render };
