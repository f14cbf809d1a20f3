/* Front end of EncoderAtWork: the figure around the model of vit.js. */

const CAPTION = "The class token’s guess after each block: the final LayerNorm and the head, applied early";
const STEP = 550; // milliseconds a block, when it plays
const PEN = 1.1; // pixels from the middle of a line to where it fades

const percent = (p) => `${Math.round(100 * p)} %`;
const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));

/* Bytes (C·S·S) on a canvas. grey: pale, so that a colour can be laid over it. */
function paint(canvas, bytes, { in_channels: C, image_size: S }, negative, grey) {
  const image = new ImageData(S, S);
  const { data } = image;
  const plane = C === 3 ? S * S : 0; // a grey image has one for all colours
  for (let i = 0, at = 0; i < S * S; i++) {
    const luma = 0.299 * bytes[i] + 0.587 * bytes[i + plane] + 0.114 * bytes[i + 2 * plane];
    for (let c = 0; c < 3; c++) {
      const value = grey ? luma : bytes[i + c * plane];
      const shown = negative ? 255 - value : value;
      data[at++] = grey ? 102 + 0.6 * shown : shown;
    }
    data[at++] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const makeCanvas = ({ image_size: S }) => make("canvas", { width: S, height: S, "aria-hidden": "true" });

/* What the class token says: a row a class, a column for each number of blocks. */
function makeGuesses(classes, blocks) {
  const cells = classes.map(() => blocks.map(() => make("td", {}, make("i"), make("span"))));
  const names = classes.map((name) => make("th", { scope: "row" }, name));
  const element = make(
    "table", { class: "work-guesses" },
    make("caption", {}, CAPTION),
    make("thead", {}, make(
      "tr", {}, make("th", { scope: "col" }, "blocks"),
      ...blocks.map((label) => make("th", { scope: "col" }, label)),
    )),
    make("tbody", {}, ...cells.map((row, j) => make("tr", {}, names[j], ...row))),
  );
  return { element, cells, names };
}

function render({ model, el }) {
  const sizes = model.get("sizes");
  const { in_channels: C, image_size: S, depth: L, num_heads: h } = sizes;
  const side = S / sizes.patch_size;
  const n = side * side;
  const classes = model.get("classes");
  const labels = model.get("labels");
  const negative = model.get("negative");
  const { ramp, query: queryColour, class: classColour } = model.get("colours");
  const all = bytesOf(model.get("images"));
  const images = labels.map((_, i) => all.subarray(C * S * S * i, C * S * S * (i + 1)));
  const paper = negative ? 0 : 255;

  let pixels; // what is shown
  let result = null; // of these pixels; null while there is none
  let playing = null; // the number of blocks that the play has reached
  let stroke = null; // where the pen was, while it draws
  let closed = false;

  // What it is made of.
  const canvas = makeCanvas(sizes);
  const cells = table(n, () => make("i"));
  const cover = make("div", { class: "work-cells", "aria-hidden": "true" }, ...cells);
  cover.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
  const mark = make("i", { class: "work-mark" });
  mark.style.width = mark.style.height = `${100 / side}%`;
  const picture = make("div", {
    class: "work-picture", tabindex: 0, role: "application",
    "aria-label": `The image, in ${side} rows and ${side} columns of patches. The arrow keys`
      + " choose a patch. While you draw, the space key fills it or clears it.",
  }, canvas, cover, mark);
  const token = make("button", { type: "button", class: "work-token" }, make("i"), "class token");
  const top = make("span");
  const bar = make("span", { class: "work-ramp", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${ramp})`;
  const legend = make("div", { class: "work-legend" }, token, make("span", { class: "work-scale" }, "0", bar, top));
  const heads = makeChoice(
    "Head", [[-1, "mean", "mean of the heads"], ...table(h, (i) => [i, String(i), `head ${i}`])],
    (head) => choose({ head: Number(head) }),
  );
  heads.element.classList.add("work-heads");
  heads.element.prepend(make("span", {}, "head"));
  const steps = makeChoice( // its buttons stand above the columns of the table
    "Blocks", table(L + 1, (i) => [i, String(i), `${i} blocks passed`]), (i) => choose({ blocks: Number(i) }),
  );
  const guesses = makeGuesses(classes, steps.labels);
  const status = make("p", { class: "work-status", role: "status" });
  const button = (words) => make("button", { type: "button" }, words);
  const [play, draw, clear, reset] = ["▶ Play", "Draw", "Clear", "Reset"].map(button);
  const file = make("input", { type: "file", accept: "image/*" });
  const upload = make("label", { class: "work-file" }, file, make("span", {}, "Own image"));
  const thumbs = images.map((image, i) => {
    const small = makeCanvas(sizes);
    paint(small, image, sizes, negative, false);
    const what = labels[i] < 0 ? `Image ${i}` : `Image ${i}: ${classes[labels[i]]}`;
    return make("button", { type: "button", "aria-label": what }, small);
  });
  const root = make(
    "div", { class: "vit-work", "data-lm-suppress-shortcuts": "true" },
    make("div", { class: "work-look" }, legend, picture, heads.element),
    make("div", { class: "work-say" }, guesses.element, status),
    make("div", { class: "work-thumbs", role: "group", "aria-label": "Images" }, ...thumbs),
    make("div", { class: "work-tools" }, draw, clear, upload, play, reset),
    make("p", { class: "work-about" }, model.get("about")),
  );
  root.style.setProperty("--vit-query", queryColour);
  root.style.setProperty("--vit-class", classColour);

  const drawing = () => draw.getAttribute("aria-pressed") === "true";
  const shownBlocks = () => playing ?? model.get("blocks");

  /* The weights that the query gives in the block and head that are shown: N numbers;
     none for no block, and null where they are not yet known. */
  function shownWeights(blocks, query) {
    if (blocks === 0) return [];
    const rows = result?.attention[blocks - 1]?.map((head) => head[query]);
    if (!rows?.[0]) return null;
    const head = model.get("head");
    if (head >= 0) return [...rows[head]];
    return table(n + 1, (j) => rows.reduce((sum, row) => sum + row[j], 0) / h);
  }

  function update() {
    const blocks = shownBlocks();
    const query = model.get("query");
    const weights = shownWeights(blocks, query);
    const largest = Math.max(...(weights ?? []), 1e-12);
    const colour = (j) => (weights?.length ? mix(ramp, weights[j] / largest) : "");
    cells.forEach((cell, i) => {
      cell.style.background = colour(i + 1);
      cell.dataset.weight = weights?.length ? weights[i + 1].toFixed(6) : "";
    });
    mark.hidden = query === 0;
    mark.style.left = `${(100 / side) * ((query - 1) % side)}%`;
    mark.style.top = `${(100 / side) * Math.floor((query - 1) / side)}%`;
    token.firstChild.style.background = colour(0);
    token.dataset.weight = weights?.length ? weights[0].toFixed(6) : "";
    token.setAttribute("aria-pressed", `${query === 0}`);
    top.textContent = weights?.length ? largest.toFixed(3) : "…";
    const said = table(L + 1, (i) => (result ? [...softmax(result.logits[i])] : null));
    const most = said.map((row) => (row ? Math.max(...row) : 0));
    guesses.cells.forEach((row, j) => row.forEach((cell, i) => {
      const p = said[i]?.[j];
      const [bar, words] = cell.children;
      bar.style.transform = `scaleX(${p ?? 0})`; // unlike a width, it moves no layout
      words.textContent = p === undefined ? "" : percent(p);
      cell.dataset.logit = result?.logits[i]?.[j] ?? "";
      cell.classList.toggle("work-top", p === most[i]);
      cell.classList.toggle("work-now", i === blocks);
      cell.classList.toggle("work-later", playing !== null && i > blocks);
    }));
    const label = labels[model.get("chosen")] ?? -1;
    guesses.names.forEach((name, j) => name.classList.toggle("work-label", j === label));
    steps.show(blocks);
    heads.show(model.get("head"));
    thumbs.forEach((thumb, i) => thumb.setAttribute("aria-pressed", `${i === model.get("chosen")}`));
    clear.disabled = model.get("chosen") >= 0;
    play.textContent = playing === null ? "▶ Play" : "■ Stop";
    root.classList.toggle("work-drawing", drawing());
    if (playing !== null) say("");
    else tell(blocks, query, weights, said[blocks], label);
    if (!result || !weights) compute();
  }

  /* Said once the reader pauses: a screen reader shall not chatter. */
  let waiting;
  function tell(blocks, query, weights, said, label) {
    clearTimeout(waiting);
    if (!said || !weights) return;
    waiting = setTimeout(() => {
      const place = (j) => (j ? `row ${Math.floor((j - 1) / side)}, column ${(j - 1) % side}` : "the class token");
      const guess = said.indexOf(Math.max(...said));
      const largest = Math.max(...weights);
      const looks = blocks === 0
        ? "No block passed: the class token has seen no patch, and says the same of every image."
        : `In block ${blocks}, ${query ? `the patch at ${place(query)}` : "the class token"} attends most to `
          + `${place(weights.indexOf(largest))}: ${largest.toFixed(3)}.`;
      const says = `After ${blocks} of ${L}: ${classes[guess]}, ${percent(said[guess])}.`;
      const known = label < 0 ? "" : ` The label says ${classes[label]}.`;
      say(blocks === 0 ? looks : `${says}${known} ${looks}`);
    }, 250);
  }
  const say = (words) => {
    clearTimeout(waiting);
    status.textContent = words;
  };

  // The model runs in slices, so that the page stays at hand.
  let running = false;
  let asked = 0; // grows with each image
  async function compute() {
    if (running) return;
    running = true;
    try {
      if (!loading.has(model.get("weights"))) say("Loading the weights of the model …");
      const weights = await load(model.get("weights"));
      for (let answered = -1; answered !== asked && !closed;) {
        answered = asked;
        const fresh = { logits: [], attention: [] };
        for await (const step of sliced(run(normalized(), sizes, weights))) {
          if (step) fresh.logits.push(step.logits);
          if (step?.attention) fresh.attention.push(step.attention);
        }
        await frame();
        if (answered !== asked && !stroke) continue;
        result = fresh;
        update();
      }
    } catch (problem) {
      console.error(problem);
      start();
      say("The weights of the model could not be loaded, so the figure can show its first image"
        + " alone. Are you online? Touch another image to try again.");
    } finally {
      running = false;
    }
  }

  function normalized() {
    return normalizedImage(pixels, sizes, model.get("mean"), model.get("std"));
  }

  // What the reader does.
  let choosing = false; // several changes become one
  function choose(changes) {
    stop();
    choosing = true;
    for (const [key, value] of Object.entries(changes)) model.set(key, value);
    choosing = false;
    model.save_changes();
    refresh();
  }

  function refresh() {
    if (choosing) return;
    readImage();
    update();
  }

  function stop() {
    clearTimeout(timer);
    playing = null;
  }

  /* The image that the model's state names: a chosen one, or the reader's own. */
  let read;
  function readImage() {
    const chosen = model.get("chosen");
    const name = chosen < 0 ? model.get("own") : chosen;
    if (name === read) return;
    read = name;
    asked += 1;
    pixels = chosen < 0 ? bytesOf(name) : images[chosen];
    result = chosen === 0 ? model.get("recorded") : null;
    paint(canvas, pixels, sizes, negative, true);
  }

  const setDrawing = (on) => draw.setAttribute("aria-pressed", `${on}`);

  function start() {
    setDrawing(false);
    choose({ chosen: 0, query: 0, blocks: L, head: -1 });
  }

  const own = (bytes) => choose({ own: toText(bytes), chosen: -1 });

  const blank = () => new Uint8Array(C * S * S).fill(paper);

  function drawTo(x, y) {
    const bytes = Uint8Array.from(pixels);
    const [fromX, fromY] = stroke ?? [x, y];
    const count = Math.max(1, Math.ceil(2 * Math.hypot(x - fromX, y - fromY)));
    for (let step = 1; step <= count; step++) {
      const [px, py] = [fromX + ((x - fromX) * step) / count, fromY + ((y - fromY) * step) / count];
      const [top, left] = [py, px].map((place) => clamp(Math.floor(place) - 2, S));
      for (let row = top; row < Math.min(top + 5, S); row++) {
        for (let column = left; column < Math.min(left + 5, S); column++) {
          const far = Math.hypot(column + 0.5 - px, row + 0.5 - py);
          const ink = Math.round(255 * Math.max(0, Math.min(1, PEN + 0.5 - far)));
          for (let c = 0; c < C; c++) {
            const at = S * (S * c + row) + column;
            bytes[at] = negative ? Math.max(bytes[at], ink) : Math.min(bytes[at], 255 - ink);
          }
        }
      }
    }
    stroke = [x, y];
    pixels = bytes;
    asked += 1;
    paint(canvas, pixels, sizes, negative, true);
    compute(); // until it has run, the last result stays
  }

  /* The space key fills the patch at the query, or clears it. */
  function fillPatch(patch) {
    const bytes = Uint8Array.from(pixels);
    const P = sizes.patch_size;
    const [top, left] = [P * Math.floor(patch / side), P * (patch % side)];
    const places = [];
    for (let c = 0; c < C; c++) {
      for (let row = top; row < top + P; row++) {
        for (let column = left; column < left + P; column++) places.push(S * (S * c + row) + column);
      }
    }
    const filled = places.every((at) => bytes[at] === 255 - paper);
    for (const at of places) bytes[at] = filled ? paper : 255 - paper;
    own(bytes);
  }

  /* A photograph is cut to a square and shrunk. */
  async function readFile(blob) {
    try {
      const photo = await createImageBitmap(blob);
      const square = Math.min(photo.width, photo.height);
      const small = make("canvas", { width: S, height: S });
      const context = small.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "#fff";
      context.fillRect(0, 0, S, S); // below what is transparent
      context.drawImage(
        photo, (photo.width - square) / 2, (photo.height - square) / 2, square, square, 0, 0, S, S,
      );
      const { data } = context.getImageData(0, 0, S, S);
      const bytes = imageOf(data.filter((_, i) => i % 4 < 3), sizes, negative);
      setDrawing(false);
      own(bytes);
    } catch {
      say("This file is no image that the browser can read.");
    }
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  picture.addEventListener("pointerdown", (event) => {
    if (!drawing() || event.button > 0) return;
    event.preventDefault();
    picture.focus({ preventScroll: true });
    picture.setPointerCapture(event.pointerId);
    drawTo(...placeOf(event).map((place) => place * S));
  });
  picture.addEventListener("pointermove", (event) => {
    if (stroke) drawTo(...placeOf(event).map((place) => place * S));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    picture.addEventListener(name, (event) => {
      if (stroke) {
        stroke = null;
        read = toText(pixels);
        choose({ own: read, chosen: -1 });
      } else if (name === "pointerup" && !drawing()) {
        const [column, row] = placeOf(event).map((place) => clamp(Math.floor(place * side), side));
        choose({ query: 1 + row * side + column });
      }
    });
  }
  onArrows(picture, (down, right) => {
    const at = model.get("query") - 1;
    const [row, column] = at < 0 ? [0, 0] : [Math.floor(at / side) + down, (at % side) + right];
    choose({ query: 1 + clamp(row, side) * side + clamp(column, side) });
  });
  onKeys(picture, [" "], () => {
    const at = model.get("query") - 1;
    if (!drawing() || at < 0) return false;
    fillPatch(at);
  });
  token.addEventListener("click", () => choose({ query: 0 }));
  // Arrow keys in a group of buttons must not turn the page either.
  root.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) event.stopPropagation();
  });
  thumbs.forEach((thumb, i) => thumb.addEventListener("click", () => {
    setDrawing(false);
    choose({ chosen: i });
  }));
  draw.addEventListener("click", () => {
    setDrawing(!drawing());
    if (drawing() && model.get("chosen") >= 0) own(blank());
    else choose({});
  });
  clear.addEventListener("click", () => own(blank()));
  reset.addEventListener("click", start);
  file.addEventListener("change", () => {
    if (file.files[0]) readFile(file.files[0]);
    file.value = "";
  });

  // The play: block by block, once when the figure is first seen.
  let timer;
  function playFrom(blocks) {
    playing = blocks;
    update();
    timer = setTimeout(() => {
      if (blocks < L) playFrom(blocks + 1);
      else choose({ blocks: L });
    }, STEP);
  }
  play.addEventListener("click", () => {
    if (playing === null) playFrom(0);
    else choose({});
  });
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const seen = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    if (!still && model.get("chosen") === 0) playFrom(0);
  }, { threshold: 0.3 });

  const events = ["chosen", "own", "blocks", "head", "query"].map((key) => `change:${key}`);
  for (const event of events) model.on(event, refresh);
  setDrawing(false);
  el.append(root);
  refresh();
  seen.observe(root);
  return () => {
    closed = true;
    stop();
    clearTimeout(waiting);
    seen.disconnect();
    for (const event of events) model.off(event, refresh);
  };
}

export default { render };
