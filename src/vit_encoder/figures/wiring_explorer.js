/* Front end of WiringExplorer: how large stream and gradient are in each layer, and how
   many directions are left, for each wiring of the same blocks. Python has measured it. */

const NORMS = { pre: "pre-norm", post: "post-norm", none: "no norm" };
const keyOf = (norm, skips, times) => `${norm} ${skips ? "skips" : "row"} ${times}`;

/* The three curves of a wiring for layers 0 to depth. measured: stream, gradient and
   directions, each by the name of the wiring. null: too large for a number. */
function curvesOf(measured, key, depth) {
  return {
    stream: measured.stream[key].slice(0, depth + 1),
    gradient: measured.gradient[key][depth - 1],
    directions: measured.directions[key][depth - 1],
  };
}

/* Whole decades that hold the sizes, two at least; those beyond a million are cut. */
function decadesOf(sizes) {
  const logs = sizes.filter((size) => size > 0).map((size) => Math.log10(size));
  const low = Math.max(-6, Math.floor(Math.min(0, ...logs)));
  const high = Math.min(6, Math.ceil(Math.max(0, ...logs)));
  return [Math.min(low, high - 2), high];
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const power = (n) => `10${n < 0 ? "⁻" : ""}${[...String(Math.abs(n))].map((d) => SUPERSCRIPTS[d]).join("")}`;

/* Two or three digits that count. */
function saySize(size) {
  if (size === null) return "too large for a number";
  if (size === 0) return "0";
  if (size >= 0.01 && size < 9999) return size.toFixed(size < 0.1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0);
  const [digits, exponent] = size.toExponential(1).split("e");
  return `${digits} · ${power(Number(exponent))}`;
}

/* The three plots stand one below the other, above one axis of layers. */
const LEFT = 38, WIDE = 352, TALL = 398;
const PLOTS = {
  stream: { top: 18, high: 98, title: "size of the stream" },
  gradient: { top: 144, high: 108, title: "size of the gradient" },
  directions: { top: 280, high: 88, title: "directions that are left" },
};

function makePlots() {
  const text = (x, y, words, anchor) => draw("text", { x, y, "text-anchor": anchor }, words);
  const plots = Object.entries(PLOTS).map(([name, { top, high, title }]) => {
    const others = draw("path", { class: "wiring-others" });
    const line = draw("path", { class: "wiring-line" });
    const dots = draw("path", { class: "wiring-dots" });
    const ring = draw("circle", { class: "wiring-ring", r: 5 });
    const grid = draw("path", { class: "wiring-grid" });
    const marks = draw("g", {});
    const inside = draw(
      "svg", { x: 0, y: top, width: WIDE, height: high, viewBox: `0 0 ${WIDE} ${high}` },
      grid, others, line, dots, ring,
    );
    const group = draw("g", {}, text(0, top - 6, title, "start"), marks, inside);
    return [name, { group, others, line, dots, ring, grid, marks }];
  });
  const at = draw("path", { class: "wiring-at" });
  const layers = draw("g", {});
  const svg = draw(
    "svg", { class: "wiring-svg", viewBox: `${-LEFT} 0 ${LEFT + WIDE + 6} ${TALL}` },
    ...plots.map(([, { group }]) => group), layers, at,
  );
  return { svg, at, layers, text, parts: Object.fromEntries(plots) };
}

/* One half of a block: the branch above, the stream below, and where the norm stands. */
function makeSketch() {
  const box = (x, y, width, words, name) =>
    draw("g", { class: `wiring-box ${name}` }, draw("rect", { x, y, width, height: 28, rx: 5 }),
      draw("text", { x: x + width / 2, y: y + 18.5, "text-anchor": "middle" }, words));
  const nodes = {
    pre: box(46, 8, 40, "LN", "wiring-norm"), post: box(262, 56, 40, "LN", "wiring-norm"),
    skip: draw("path", { d: "M22 70H210" }), corner: draw("path", { d: "M220 61V70H229" }),
    free: draw("path", { d: "M46 22H86" }), late: draw("path", { d: "M262 70H302" }), // where a norm may stand
    plus: draw("g", {}, draw("circle", { cx: 220, cy: 70, r: 9 }), draw("path", { d: "M215 70h10M220 65v10" })),
  };
  const svg = draw(
    "svg", { class: "wiring-sketch", viewBox: "0 0 330 88", role: "img" },
    draw("path", { d: "M4 70H22V22H46M86 22H106M196 22H220V61M229 70H262M302 70H322" }),
    draw("path", { class: "wiring-head", d: "M328 70l-8 -4v8z" }),
    box(106, 8, 90, "MSA or MLP", ""), ...Object.values(nodes),
  );
  return {
    svg,
    show(norm, skips) {
      const [pre, post] = [norm === "pre", norm === "post"];
      const seen = { pre, free: !pre, post, late: !post, skip: skips, plus: skips, corner: !skips };
      for (const [name, on] of Object.entries(seen)) nodes[name].setAttribute("visibility", on ? "visible" : "hidden");
      const place = { pre: "a LayerNorm before the branch", post: "a LayerNorm after it", none: "no LayerNorm" }[norm];
      svg.setAttribute("aria-label", `One half of a block: the branch, ${place}, and ${skips ? "a skip around the branch" : "no skip"}`);
    },
  };
}

function render({ model, el }) {
  const most = model.get("most"), D = model.get("dim");
  const measured = Object.fromEntries(Object.keys(PLOTS).map((name) => [name, model.get(name)]));
  const wirings = (times) => Object.keys(NORMS).flatMap((norm) => [true, false].map((skips) => keyOf(norm, skips, times)));
  const choose = (values) => put(model, values);
  const live = makeLive();
  const plots = makePlots();
  const px = (layer) => 8 + (layer * (WIDE - 16)) / most;
  plots.svg.setAttribute("aria-hidden", "true");
  const picker = make("div", {
    class: "vit-plot wiring-plots", tabindex: 0, role: "application",
    "aria-description": "The left and right arrow keys move the layer.",
  }, plots.svg);
  for (const layer of namedLayers(most)) {
    plots.layers.append(plots.text(px(layer), TALL - 14, String(layer), "middle"));
  }

  const sketch = makeSketch();
  const norm = makeChoice("Norm", Object.entries(NORMS), (chosen) => choose({ norm: chosen }));
  const skips = makeSwitch("skips", (on) => choose({ skips: on }));
  const times = makeChoice("Weights", [[1, "weights × 1"], [2, "weights × 2"]], (chosen) => choose({ times: Number(chosen) }));
  const depth = makeSlider("blocks:", { min: 1, max: most, step: 1 }, (L) => choose({ depth: L }));
  const keys = ["norm", "skips", "times", "depth", "layer"];
  const readout = makeReadout({
    place: "After block", stream: "Size of the stream", gradient: "Size of the gradient", directions: "Directions that are left",
  });
  const root = makeFigure(
    "wiring-figure", "Norm and skips: the stream and the gradient, layer by layer",
    make(
      "div", { class: "vit-left" }, picker,
      make("p", { class: "vit-hint" }, "Across: the blocks that have been passed. Thick: your wiring. Grey: the other five. What leaves a plot is shown as a number."),
    ),
    make(
      "div", { class: "vit-right" },
      makeControls(norm.element, skips.element, times.element, depth.element, makeReset(model, keys)),
      sketch.svg, readout.element, live.element,
      make("p", { class: "vit-hint" }, `The gradient begins with size 1 after the last block and runs back, to the left. Directions: in how many of ${D} ways token 0 after the last block can be changed from here.`),
    ),
  );
  let drawn = ""; // what the curves were drawn from

  function pathOf(values, name, py) {
    let pen = "M";
    return values.map((value, layer) => {
      if (value === null) { pen = "M"; return ""; }
      const point = `${pen}${px(layer).toFixed(1)} ${py[name](value).toFixed(1)}`;
      pen = "L";
      return point;
    }).join("");
  }

  function scales(amplified, L) {
    const py = {};
    const all = wirings(amplified).map((key) => curvesOf(measured, key, L));
    for (const [name, { high }] of Object.entries(PLOTS)) {
      const { grid, marks } = plots.parts[name];
      let places;
      if (name === "directions") {
        py[name] = (value) => high - 4 - (value / D) * (high - 8);
        places = [0, D / 2, D].filter(Number.isInteger).map((value) => [value, String(value)]);
      } else {
        const [low, top] = decadesOf(all.flatMap((curves) => curves[name]));
        py[name] = (value) => {
          const place = value > 0 ? (top - Math.log10(value)) / (top - low) : 9;
          return Math.max(-high, Math.min(2 * high, 4 + place * (high - 8))); // what is outside is cut
        };
        const by = Math.ceil((top - low) / 4);
        places = [];
        for (let n = Math.ceil(low / by) * by; n <= top; n += by) places.push([10 ** n, power(n)]);
      }
      grid.setAttribute("d", places.map(([value]) => `M0 ${py[name](value).toFixed(1)}H${WIDE}`).join(""));
      const { top } = PLOTS[name];
      marks.replaceChildren(...places.map(([value, words]) => plots.text(-6, top + py[name](value) + 4, words, "end")));
    }
    return { py, all };
  }

  let py; // name of a plot → height of a value in it
  function update() {
    const [kind, on, amplified, L] = ["norm", "skips", "times", "depth"].map((key) => model.get(key));
    const chosen = keyOf(kind, on, amplified);
    const curves = curvesOf(measured, chosen, L);
    const at = Math.min(model.get("layer"), L);
    const asked = `${chosen} ${L}`;
    if (asked !== drawn) { // while the layer alone moves, all curves stay
      drawn = asked;
      let all;
      ({ py, all } = scales(amplified, L));
      for (const name of Object.keys(PLOTS)) {
        const { others, line, dots } = plots.parts[name];
        others.setAttribute("d", all.map((other) => pathOf(other[name], name, py)).join(""));
        line.setAttribute("d", pathOf(curves[name], name, py));
        dots.setAttribute("d", curves[name].map((value, i) => (value === null ? "" : `M${px(i).toFixed(1)} ${py[name](value).toFixed(1)}h0`)).join(""));
      }
      norm.show(kind);
      skips.show(on);
      times.show(amplified);
      depth.show(L, String(L));
      sketch.show(kind, on);
    }
    const line = Object.values(PLOTS).map(({ top, high }) => `M${px(at).toFixed(1)} ${top}v${high}`);
    plots.at.setAttribute("d", line.join(""));
    for (const name of Object.keys(PLOTS)) {
      const { ring } = plots.parts[name];
      ring.setAttribute("cx", px(at).toFixed(1));
      ring.setAttribute("cy", curves[name][at] === null ? -99 : py[name](curves[name][at]).toFixed(1));
    }
    const { values } = readout;
    values.place.textContent = `${at} of ${L}`;
    values.stream.textContent = saySize(curves.stream[at]);
    values.gradient.textContent = saySize(curves.gradient[at]);
    values.directions.textContent = curves.directions[at] === null ? "–" : `${curves.directions[at]} of ${D}`;
    const words = `${NORMS[kind]}, ${on ? "with skips" : "without skips"}, weights times ${amplified}, ${L} blocks`;
    picker.setAttribute("aria-label", `Three curves against the number of blocks passed: ${words}`);
    live.say(
      `${words[0].toUpperCase()}${words.slice(1)}. After block ${at}: stream ${values.stream.textContent}, gradient ` +
        `${values.gradient.textContent}, directions ${values.directions.textContent}.`,
    );
  }

  const move = (event) => {
    const place = placeOn(plots.svg, event)[0] * (LEFT + WIDE + 6) - LEFT;
    const layer = Math.round(((place - 8) * most) / (WIDE - 16));
    choose({ layer: Math.max(0, Math.min(model.get("depth"), layer)) });
  };
  onTouch(picker, move);
  onArrows(picker, (_, right) => {
    const L = model.get("depth");
    choose({ layer: Math.max(0, Math.min(L, Math.min(model.get("layer"), L) + right)) });
  }, SIDEWAYS);
  el.append(root);
  return follow(model, keys, update);
}

export { curvesOf, decadesOf, keyOf, saySize };
export default { render };
