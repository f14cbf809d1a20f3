/* Front end of NormExplorer: which numbers of a block (B, N, D) share a mean and a
   variance, what changes when one of them is poked, and where the outputs lie. Numbers
   are kept in reading order: images, then tokens, then features. */

/* Along which axes a set runs for each norm that has a name; the first that fits. */
const NORMS = {
  LayerNorm: [2], BatchNorm: [0, 1], "LayerNorm over N and D": [1, 2],
  "all numbers together": [0, 1, 2], "InstanceNorm": [1],
  "one place in all images": [0, 2], "one number of each image": [0],
};
const PRESETS = { LayerNorm: [2], BatchNorm: [0, 1], image: [1, 2] };

const indexOf = ([b, n, d], [, N, D]) => (b * N + n) * D + d;
const placeOf = (index, [, N, D]) => [Math.floor(index / D / N), Math.floor(index / D) % N, index % D];
const everyIndex = (sizes) => Array.from({ length: sizes[0] * sizes[1] * sizes[2] }, (_, i) => i);

/* The set through a place that runs along these axes. */
const setThrough = (place, axes, sizes) =>
  everyIndex(sizes).filter((index) => placeOf(index, sizes).every((at, axis) => axes.includes(axis) || at === place[axis]));

/* The name of the norm whose sets look like this one, or undefined. */
function nameOf(painted, sizes) {
  if (painted.length < 2) return undefined;
  const places = painted.map((index) => placeOf(index, sizes));
  return Object.keys(NORMS).find((name) => {
    const whole = setThrough(places[0], NORMS[name], sizes);
    return whole.length === painted.length && whole.every((index) => painted.includes(index));
  });
}

/* The sets into which the block is cut: those of a norm, or the painted one alone. */
function partition(painted, sizes) {
  const axes = NORMS[nameOf(painted, sizes)];
  if (!axes) return painted.length ? [painted] : [];
  const sets = new Map();
  for (const index of everyIndex(sizes)) {
    const key = String(placeOf(index, sizes).filter((_, axis) => !axes.includes(axis)));
    sets.set(key, [...(sets.get(key) ?? []), index]);
  }
  return [...sets.values()];
}

/* Each set with mean 0 and variance 1; what is in no set stays as it is. Then gain γ and
   bias β of each feature. */
function normalize(x, sets, weight, bias, eps) {
  const normalized = [...x];
  for (const set of sets) {
    const mean = set.reduce((sum, i) => sum + x[i], 0) / set.length;
    const variance = set.reduce((sum, i) => sum + (x[i] - mean) ** 2, 0) / set.length;
    for (const i of set) normalized[i] = (x[i] - mean) / Math.sqrt(variance + eps);
  }
  const D = weight.length;
  return { normalized, y: normalized.map((z, i) => weight[i % D] * z + bias[i % D]) };
}

const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

const [WIDE, HIGH, DEEP] = [54, 34, 9]; // a cell, and the thickness of an image
const [LEFT, TOP, GAP] = [18, 36, 22];

/* The block, sliced into its images. */
function makeBlock(sizes) {
  const [B, N, D] = sizes;
  const across = Math.min(B, Math.max(1, Math.floor(6 / D)));
  const corner = (b) => [
    LEFT + (b % across) * (D * WIDE + DEEP + GAP), TOP + Math.floor(b / across) * (N * HIGH + TOP + 18),
  ];
  const slices = Array.from({ length: B }, (_, b) => {
    const [x, y] = corner(b);
    const [w, h] = [D * WIDE, N * HIGH];
    const d = `M${x} ${y}l${DEEP} ${-DEEP}h${w}l${-DEEP} ${DEEP}zM${x + w} ${y}l${DEEP} ${-DEEP}v${h}l${-DEEP} ${DEEP}z`;
    return draw("g", {}, draw("path", { class: "cube-edges", d }), draw("text", { x: x + DEEP, y: y - DEEP - 7 }, `image ${b}`));
  });
  const texts = [];
  const cells = everyIndex(sizes).map((index) => {
    const [b, n, d] = placeOf(index, sizes);
    const [x, y] = corner(b);
    const at = [x + d * WIDE, y + n * HIGH];
    const text = draw("text", { x: at[0] + WIDE / 2, y: at[1] + HIGH / 2 + 4.5 });
    texts.push(text);
    return draw("g", { class: "" }, draw("rect", { x: at[0] + 2, y: at[1] + 2, width: WIDE - 4, height: HIGH - 4, rx: 3 }), text);
  });
  const [width, height] = [corner(across - 1)[0] + D * WIDE + DEEP + 2, corner(B - 1)[1] + N * HIGH + 20];
  const names = [
    draw("text", { x: 1, y: TOP + (N * HIGH) / 2 + 5 }, "N"),
    draw("text", { x: LEFT + (D * WIDE) / 2 - 5, y: TOP + N * HIGH + 16 }, "D"),
  ];
  const svg = draw(
    "svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...slices, ...names, draw("g", { class: "cube-cells" }, ...cells),
  );
  const element = make("div", {
    class: "cube-block", tabindex: 0, role: "application",
    "aria-label": `A block of ${B} × ${N} × ${D} numbers: images, tokens, features`,
    "aria-description": "The arrow keys move the poked number. Space paints it.",
  }, svg);
  // The number nearest to a pointer, which is at a place from 0 to 1.
  const nearest = ([right, down]) => {
    const far = cells.map((_, index) => {
      const [b, n, d] = placeOf(index, sizes);
      const [x, y] = corner(b);
      return Math.hypot(right * width - x - (d + 0.5) * WIDE, down * height - y - (n + 0.5) * HIGH);
    });
    return placeOf(far.indexOf(Math.min(...far)), sizes);
  };
  return { element, svg, cells, texts, nearest };
}

const UP = Array(3).fill(1 / Math.sqrt(3)); // the direction (1, 1, 1)
const IN_PLANE = [[2, -1, -1].map((x) => x / Math.sqrt(6)), [0, 1, -1].map((x) => x / Math.sqrt(2))];

/* The directions to the right and up of a viewer who has turned about the axis (1, 1, 1)
   and tilted, in degrees. */
function directions([turn, tilt]) {
  const [t, u] = [turn, tilt].map((degrees) => (degrees * Math.PI) / 180);
  const along = (one, other) => IN_PLANE[0].map((x, i) => one * x + other * IN_PLANE[1][i]);
  const back = along(Math.sin(t), Math.cos(t));
  return [along(Math.cos(t), -Math.sin(t)), UP.map((x, i) => Math.cos(u) * x + Math.sin(u) * back[i])];
}

const AROUND = Array.from({ length: 73 }, (_, i) => (i * Math.PI) / 36);
const RADIUS = Math.sqrt(3);

/* A circle in the plane of mean 0, of this radius. */
const circleOf = (radius) =>
  AROUND.map((a) => IN_PLANE[0].map((x, i) => radius * (Math.cos(a) * x + Math.sin(a) * IN_PLANE[1][i])));

/* The outline of the sphere after γ and β, as a viewer sees it: points [right, up]. The
   farthest point in a direction g is that of the sphere in the direction γ·g. */
function outlineOf(weight, bias, [right, up]) {
  return AROUND.map((a) => {
    const g = right.map((x, i) => weight[i] * (Math.cos(a) * x + Math.sin(a) * up[i]));
    const length = Math.hypot(...g) || 1;
    const point = g.map((x, i) => (RADIUS * weight[i] * x) / length + bias[i]);
    return [dot(point, right), dot(point, up)];
  });
}

const [SPACE_WIDE, SPACE_HIGH] = [400, 300];

/* Three dimensions: the plane, the sphere and the circle of LayerNorm, and all tokens. */
function makeSpace(tokens) {
  const path = (name) => draw("path", { class: `cube-${name}` });
  const [plane, sphere, axes, circle, moves, way] = ["plane", "sphere", "axes", "circle", "moves", "way"].map(path);
  const names = ["0", "1", "2"].map((d) => draw("text", {}, `feature ${d}`));
  const outputs = Array.from({ length: tokens }, () => draw("g", { class: "" }, draw("circle", { r: 5 })));
  const input = draw("circle", { class: "cube-input", r: 4.5 });
  const svg = draw(
    "svg", { viewBox: `0 0 ${SPACE_WIDE} ${SPACE_HIGH}`, "aria-hidden": "true" },
    plane, axes, ...names, sphere, circle, way, moves, draw("g", { class: "cube-outputs" }, ...outputs), input,
  );
  const element = make("div", {
    class: "cube-space", tabindex: 0, role: "application", "aria-description": "The arrow keys turn the view.",
  }, svg);
  return { element, svg, plane, sphere, axes, circle, moves, way, names, outputs, input };
}

function drawSpace(space, { view, weight, bias, before, after, poked, input }) {
  const seen = directions(view);
  const flat = (point) => seen.map((direction) => dot(point, direction));
  const scaled = (points) => points.map((point) => flat(point.map((x, i) => weight[i] * x + bias[i])));
  const [plane, circle, sphere] = [scaled(circleOf(2.6)), scaled(circleOf(RADIUS)), outlineOf(weight, bias, seen)];
  const [was, is] = [before, after].map((tokens) => tokens.map(flat));
  const from = flat(input);
  const ends = [0, 1, 2].map((d) => flat([0, 1, 2].map((i) => (i === d ? RADIUS : 0))));

  // As large as it can be drawn, but no larger than a plane of radius 2.6 needs.
  const points = [...plane, ...sphere, ...was, ...is, from, ...ends.map((end) => end.map((x) => 1.25 * x))];
  const unit = Math.min(SPACE_WIDE / 5.6, ...points.map(([x, y]) => Math.min(SPACE_WIDE / 2.1 / Math.abs(x), SPACE_HIGH / 2.1 / Math.abs(y))));
  const px = ([x, y]) => [(SPACE_WIDE / 2 + unit * x).toFixed(1), (SPACE_HIGH / 2 - unit * y).toFixed(1)];
  const line = (row) => `M${row.map((point) => px(point).join(" ")).join("L")}`;
  const place = (node, point, [x, y] = ["cx", "cy"]) => {
    const [right, down] = px(point);
    node.setAttribute(x, right);
    node.setAttribute(y, down);
  };
  space.plane.setAttribute("d", `${line(plane)}z`);
  space.circle.setAttribute("d", `${line(circle)}z`);
  space.sphere.setAttribute("d", `${line(sphere)}z`);
  space.axes.setAttribute("d", ends.map((end) => line([[0, 0], end])).join(""));
  space.names.forEach((name, d) => {
    place(name, ends[d].map((x) => 1.12 * x), ["x", "y"]);
    name.setAttribute("text-anchor", Math.abs(ends[d][0]) < 0.6 ? "middle" : ends[d][0] > 0 ? "start" : "end");
  });
  space.moves.setAttribute("d", was.map((point, i) => line([point, is[i]])).join(""));
  space.way.setAttribute("d", line([from, is[poked]]));
  is.forEach((point, i) => {
    place(space.outputs[i].children[0], point);
    space.outputs[i].classList.toggle("cube-poked", i === poked);
  });
  place(space.input, from);
}

function render({ model, el }) {
  const x = model.get("x").flat(2);
  const eps = model.get("eps");
  const sizes = [model.get("x").length, model.get("x")[0].length, model.get("x")[0][0].length];
  const [B, N, D] = sizes;
  const tokens = B * N;
  const block = makeBlock(sizes);
  const space = makeSpace(tokens);
  const live = makeLive();
  const choose = (values) => put(model, values);
  const setNow = () => {
    const [norm, painted, poke] = ["norm", "painted", "poke"].map((key) => model.get(key));
    return norm === "own" ? painted : setThrough(poke, PRESETS[norm], sizes);
  };

  const norm = makeChoice(
    "Normalized together",
    [["LayerNorm", "LayerNorm"], ["BatchNorm", "BatchNorm"], ["image", "whole image"], ["own", "your own"]],
    (chosen) => choose(chosen === "own"
      ? { painted: setNow(), norm: "own", touch: "paint" } : { norm: chosen, touch: "poke" }),
  );
  const touch = makeChoice("A touch", [["poke", "touch pokes"], ["paint", "touch paints"]], (chosen) => choose({ touch: chosen }));
  const shown = makeChoice("Show", [["x", "x"], ["normalized", "x̂"], ["y", "y"]], (chosen) => choose({ shown: chosen }));
  const added = makeSlider("poked by", { min: -4, max: 4, step: 0.1 }, (number) => choose({ added: number }));
  const ofFeature = (key, letter) => makeSlider(`${letter} of its feature:`, { min: -2, max: 2, step: 0.1 }, (number) => {
    choose({ [key]: model.get(key).map((old, d) => (d === model.get("poke")[2] ? number : old)) });
  });
  const [weight, bias] = [ofFeature("weight", "γ"), ofFeature("bias", "β")];
  const keys = ["norm", "painted", "poke", "added", "weight", "bias", "shown", "touch", "view"];
  const readout = makeReadout({
    painted: "Painted", means: "Sets", poked: "Poked", others: "Change with it",
    plane: "x̂ off the plane", sphere: "x̂ off the sphere",
  });
  const inSpace = D === 3 ? [
    space.element,
    make(
      "p", { class: "vit-hint" },
      "Dots: each token’s y in space. Where plane and sphere meet, the outputs of LayerNorm lie; γ and β " +
        "stretch and shift both. Lines: what the poke moves. Dashed: from the poked token’s x to its y.",
    ),
  ] : [];
  const root = makeFigure(
    "cube-figure", "Which numbers are normalized together",
    make(
      "div", { class: "vit-left" }, block.element,
      make("p", { class: "vit-hint" }, "Brown: painted. Thick: poked. Dashed: changes with it."),
      makeControls(make("p", { class: "vit-hint" }, "Touch a number, or use the arrow keys. Drag the points to turn them.")),
      ...inSpace,
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(
        norm.element, touch.element, shown.element, makeReset(model, keys),
        added.element, weight.element, bias.element,
      ),
      readout.element, live.element,
    ),
  );

  function update() {
    const [norms, , poke, more, gain, shift, what, touching, view] = keys.map((key) => model.get(key));
    const painted = setNow();
    const poked = indexOf(poke, sizes);
    const other = x.map((number, i) => (i === poked ? number + more : number));
    const sets = partition(painted, sizes);
    const [before, after] = [x, other].map((numbers) => normalize(numbers, sets, gain, shift, eps));
    const changes = after.y.map((y, i) => Math.abs(y - before.y[i]) > 1e-9);
    const numbers = { x: other, ...after }[what];
    const isPainted = new Set(painted);
    block.cells.forEach((cell, i) => {
      cell.classList.toggle("cube-painted", isPainted.has(i));
      cell.classList.toggle("cube-changed", changes[i] && i !== poked);
      cell.classList.toggle("cube-poked", i === poked);
      const text = say(numbers[i]);
      if (block.texts[i].textContent !== text) block.texts[i].textContent = text;
    });

    const rows = (all) => Array.from({ length: tokens }, (_, n) => all.slice(n * D, (n + 1) * D));
    const off = (distance) => Math.max(...rows(after.normalized).map(distance)).toFixed(3);
    const ofToken = Math.floor(poked / D);
    if (D === 3) {
      drawSpace(space, {
        view, weight: gain, bias: shift, before: rows(before.y), after: rows(after.y), poked: ofToken,
        input: rows(other)[ofToken],
      });
    }

    norm.show(norms);
    touch.show(touching);
    shown.show(what);
    added.show(more, say(more, 1));
    weight.show(gain[poke[2]], say(gain[poke[2]], 1));
    bias.show(shift[poke[2]], say(shift[poke[2]], 1));
    const name = nameOf(painted, sizes);
    const others = changes.flatMap((is, i) => (is && i !== poked ? [i] : []));
    const near = others.filter((i) => Math.floor(i / D) === ofToken).length;
    const { values } = readout;
    values.painted.textContent = `${counted(painted.length, "number")}: ${name ?? "a set of your own"}`;
    values.means.textContent = name
      ? `${sets.length}, each of ${counted(painted.length, "number")}`
      : `${sets.length}; the other numbers stay as they are`;
    values.poked.textContent = `image ${poke[0]}, token ${poke[1]}, feature ${poke[2]}`;
    values.others.textContent = `${near} in its token, ${others.length - near} elsewhere`;
    values.plane.textContent = `by up to ${off((z) => Math.abs(z.reduce((a, b) => a + b)) / Math.sqrt(D))}`;
    values.sphere.textContent = `by up to ${off((z) => Math.abs(Math.hypot(...z) - Math.sqrt(D)))}`;
    space.element.setAttribute(
      "aria-label", `The outputs of ${tokens} tokens in space, with the plane of mean 0 and the sphere of radius √3;`
        + ` normalized, they lie off the plane ${values.plane.textContent}, off the sphere ${values.sphere.textContent}`,
    );
    live.say(
      `Painted: ${values.painted.textContent}. Poked: ${values.poked.textContent}. Change with it:`
        + ` ${values.others.textContent}. Off the plane ${values.plane.textContent}, off the sphere ${values.sphere.textContent}.`,
    );
  }

  const paint = (index, on) => {
    const kept = setNow().filter((i) => i !== index);
    choose({ painted: (on ? [...kept, index] : kept).sort((a, b) => a - b), norm: "own" });
  };
  let brush = null; // whether a drag paints or takes paint away
  const touched = (event) => {
    if (event.type === "pointerdown") brush = null;
    const place = block.nearest(placeOn(block.svg, event));
    if (model.get("touch") === "poke") return choose({ poke: place });
    const index = indexOf(place, sizes);
    brush ??= !setNow().includes(index);
    if (setNow().includes(index) !== brush) paint(index, brush);
  };
  onTouch(block.element, touched);
  onArrows(block.element, (down, right) => {
    const [b, n, d] = model.get("poke");
    const column = Math.max(0, Math.min(B * D - 1, b * D + d + right));
    choose({ poke: [Math.floor(column / D), Math.max(0, Math.min(N - 1, n + down)), column % D] });
  });
  onKeys(block.element, [" "], () => {
    const index = indexOf(model.get("poke"), sizes);
    paint(index, !setNow().includes(index));
  });

  const turn = (right, down) => {
    const [turned, tilted] = model.get("view");
    choose({ view: [turned + right, Math.max(-90, Math.min(90, tilted + down))] });
  };
  let held = null;
  space.element.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; });
  space.element.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons) return;
    turn((event.clientX - held[0]) / 2, (event.clientY - held[1]) / 2);
    held = [event.clientX, event.clientY];
  });
  onArrows(space.element, (down, right) => turn(5 * right, 5 * down));
  el.append(root);
  return follow(model, keys, update);
}

export { directions, nameOf, normalize, outlineOf, partition };
export default { render };
