/* What the figures that answer share: elements, controls and words for screen readers.
   figures/front_end.py puts it before the module of each. */

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* The colour at a place from 0 to 1 on a ramp of hexadecimal colours. */
function mix(ramp, place) {
  const step = Math.min(Math.floor(place * (ramp.length - 1)), ramp.length - 2);
  const part = place * (ramp.length - 1) - step;
  const channels = [1, 3, 5].map((i) => {
    const [from, to] = [ramp[step], ramp[step + 1]].map((c) => parseInt(c.slice(i, i + 2), 16));
    return Math.round(from + part * (to - from));
  });
  return `rgb(${channels})`;
}

/* The whole figure. The attribute keeps JupyterLab from taking its keys. */
function makeFigure(name, label, ...children) {
  const attributes = { class: `vit-figure ${name}`, role: "group", "aria-label": label };
  return make("div", { ...attributes, "data-lm-suppress-shortcuts": "true" }, ...children);
}

/* A row of controls, which a still picture leaves out. */
const makeControls = (...children) => make("div", { class: "vit-controls" }, ...children);

/* One button an option; exactly one is chosen. options: pairs of a value and what it says,
   and, where a screen reader shall say more, a third part. */
function makeChoice(legend, options, choose) {
  const name = `vit-${Math.random().toString(36).slice(2)}`; // a group of its own
  const inputs = options.map(([value, , spoken]) =>
    make("input", { type: "radio", name, value, ...(spoken ? { "aria-label": spoken } : {}) }));
  for (const input of inputs) input.addEventListener("change", () => choose(input.value));
  const labels = inputs.map((input, i) => {
    const [, words, spoken] = options[i];
    return make("label", {}, input, make("span", spoken ? { "aria-hidden": "true" } : {}, words));
  });
  return {
    labels,
    element: make("div", { class: "vit-choice", role: "radiogroup", "aria-label": legend }, ...labels),
    show: (value) => inputs.forEach((input) => { input.checked = input.value === String(value); }),
  };
}

function makeSwitch(words, choose) {
  const input = make("input", { type: "checkbox", role: "switch" });
  input.addEventListener("change", () => choose(input.checked));
  return {
    element: make("label", { class: "vit-switch" }, input, words),
    show: (on) => { input.checked = on; },
  };
}

/* range: min, max and step. show(value, words): the words stand beside it. */
function makeSlider(words, range, choose) {
  const input = make("input", { type: "range", ...range });
  const said = make("span");
  input.addEventListener("input", () => choose(Number(input.value)));
  return {
    element: make("label", { class: "vit-slider" }, make("span", {}, words, " ", said), input),
    input,
    show(value, text) {
      input.value = String(value);
      input.setAttribute("aria-valuetext", text);
      said.textContent = text;
    },
  };
}

function makeButton(words, press) {
  const button = make("button", { type: "button", class: "vit-button" }, words);
  button.addEventListener("click", press);
  return button;
}

/* Puts back what the keys of the model were when the figure was shown. */
function makeReset(model, keys, also = () => {}) {
  const start = keys.map((key) => [key, model.get(key)]);
  return makeButton("Reset", () => {
    also();
    for (const [key, value] of start) model.set(key, value);
    model.save_changes();
  });
}

/* Terms and their values. terms: key → what it is. */
function makeReadout(terms) {
  const values = {};
  const rows = Object.entries(terms).map(([key, term]) => {
    values[key] = make("span", { "data-value": key });
    return make("div", {}, make("b", {}, term), " ", values[key]);
  });
  return { element: make("div", { class: "vit-readout" }, ...rows), values };
}

/* One sentence for screen readers, said when the reader has come to rest. */
function makeLive() {
  const element = make("p", { class: "vit-live", role: "status" });
  let wait;
  return {
    element,
    say(text) {
      clearTimeout(wait);
      if (element.textContent) wait = setTimeout(() => { element.textContent = text; }, 700);
      else element.textContent = text; // nothing has changed yet
    },
  };
}

/* Where a pointer is on an element: from 0 to 1, from the left and from the top. */
function placeOn(element, event) {
  const box = element.getBoundingClientRect();
  const clamp = (place) => Math.max(0, Math.min(1 - 1e-9, place));
  return [
    clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height),
  ];
}

/* A finger or a mouse comes down on an element, and moves while it is down. */
function onTouch(element, touched) {
  element.addEventListener("pointerdown", touched);
  element.addEventListener("pointermove", (event) => { if (event.buttons) touched(event); });
}

/* One of some keys, with no other held. A page or a notebook must not see it, unless act
   returns false. */
function onKeys(element, keys, act) {
  element.addEventListener("keydown", (event) => {
    const held = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
    if (held || !keys.includes(event.key) || act(event.key) === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/* Arrow keys move by (rows, columns). steps: those that do; others are left to the page. */
const SIDEWAYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ...SIDEWAYS };
const onArrows = (element, move, steps = ARROWS) =>
  onKeys(element, Object.keys(steps), (key) => { move(...steps[key]); });

/* A button for an image of the reader's own, cut and shrunk to (height, width). It goes
   nowhere. take: gets its pixels as bytes, red, green, blue, and an address to show. */
function makeOwnImage(height, width, take) {
  const input = make("input", { type: "file", accept: "image/*" });
  const fault = make("span", { class: "vit-hint", role: "alert" });
  input.addEventListener("change", async () => {
    fault.textContent = "";
    let bitmap;
    try {
      bitmap = await createImageBitmap(input.files[0]);
    } catch {
      fault.textContent = "Expected an image; this file cannot be read as one.";
      return;
    }
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const scale = Math.max(width / bitmap.width, height / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
    const { data } = context.getImageData(0, 0, width, height);
    take(data.filter((_, i) => i % 4 < 3), canvas.toDataURL());
  });
  const words = make("span", { class: "vit-button" }, "Your own image");
  return make("span", {}, make("label", { class: "vit-file" }, input, words), fault);
}

/* Update now and whenever one of the keys changes; gives what ends that. */
function follow(model, keys, update) {
  for (const key of keys) model.on(`change:${key}`, update);
  update();
  return () => { for (const key of keys) model.off(`change:${key}`, update); };
}

/* Set keys of the model, which tells Python. */
function put(model, values) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  model.save_changes();
}

/* What stands in a table of texts, by name; null while it is on its way. Of what it does
   not show at first a page keeps the address of a script, which loads from a disk too.
   came: is called when something has come, failed: when it does not. */
function makeParts(texts, read, came, failed) {
  const found = {};
  return (name) => {
    if (name in found) return found[name];
    const text = texts[name];
    if (!text.endsWith(".js")) return found[name] = read(text, name); // no base64 does
    found[name] = null;
    loadPart(text).then((part) => { found[name] = read(part, name); came(); }, () => {
      delete found[name]; // a second choice tries again
      failed(name);
    });
    return null;
  };
}
async function loadPart(address) {
  const script = make("script", { src: address });
  await new Promise((loaded, failed) => {
    Object.assign(script, { onload: loaded, onerror: failed });
    document.head.append(script);
  });
  return script.part;
}

/* Pixels as the model keeps them, red, green and blue of pixel after pixel: as text, and
   as numbers from 0 to 1 in the order of a tensor (C, H, W). */
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const toText = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
function toImage(text) {
  const bytes = bytesOf(text);
  const size = bytes.length / 3;
  return Array.from({ length: 3 * size }, (_, i) => bytes[3 * (i % size) + Math.floor(i / size)] / 255);
}

/* An address that shows such an image. */
function toPicture(image, height, width) {
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  const size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 4; c++) data.data[4 * i + c] = c < 3 ? Math.round(255 * image[size * c + i]) : 255;
  }
  context.putImageData(data, 0, 0);
  return canvas.toDataURL();
}

/* The address of a picture in light grey, on which a colour can be laid: see `fade` in
   inputs.py. rgb: a function from a pixel's number to its bytes. */
function fadedPicture(rgb, height, width) {
  const grey = Array.from({ length: height * width }, (_, i) => {
    const [red, green, blue] = rgb(i);
    return 0.4 + (0.6 * (0.299 * red + 0.587 * green + 0.114 * blue)) / 255;
  });
  return toPicture([...grey, ...grey, ...grey], height, width);
}

/* Numbers. */

/* With a true minus, and no minus before zero. */
function say(number, digits = 2) {
  const text = number.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "−");
}

/* A whole number with a space between thousands. */
const spaced = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u00a0");

/* The layers from 0 on that an axis names, nine at most. */
function namedLayers(most) {
  const step = Math.ceil(most / 8);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/* Σ x[i] · y[from + i] */
function dot(x, y, from = 0) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[from + i];
  return sum;
}

function softmax(scores) {
  let largest = -Infinity, sum = 0;
  for (const score of scores) largest = Math.max(largest, score);
  const powers = new Float64Array(scores.length);
  for (let i = 0; i < powers.length; i++) sum += powers[i] = Math.exp(scores[i] - largest);
  for (let i = 0; i < powers.length; i++) powers[i] /= sum;
  return powers;
}
