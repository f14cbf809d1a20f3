/* Draws figures that answer as they stand before anybody touches them, as HTML. Each is
   drawn by its own module, on elements that know no more than how to be written down.
   Input: {id: state of the widget}. Output: {id: HTML}. */
import { readFileSync } from "node:fs";

const VOID = new Set(["input", "img", "br"]);
const LEFT_OUT = new Set(["name", "tabindex", "aria-description", "data-lm-suppress-shortcuts"]);
const escape = (text) =>
  String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");

class Node {
  constructor(tag) {
    Object.assign(this, { tag, attributes: {}, children: [], style: {}, dataset: {} });
    this.classList = {
      toggle: (name, on = !this.classList.contains(name)) => {
        const names = (this.attributes.class ?? "").split(" ").filter((n) => n && n !== name);
        this.attributes.class = [...names, ...(on ? [name] : [])].join(" ");
      },
      contains: (name) => (this.attributes.class ?? "").split(" ").includes(name),
      add: (name) => this.classList.toggle(name, true),
      remove: (name) => this.classList.toggle(name, false),
    };
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  removeAttribute(name) { delete this.attributes[name]; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  addEventListener() {}
  set textContent(text) { this.children = [text]; }
  get textContent() { return this.children.map((c) => c.textContent ?? c).join(""); }
  get value() { return this.attributes.value ?? ""; }
  set value(value) { this.attributes.value = value; }
  toString() {
    // Nothing of it can be used yet: what can be reached by keys says what it shows.
    const found = { ...this.attributes };
    if (found.role === "application") found.role = "img";
    const style = Object.entries(this.style).map(([key, value]) => `${key}:${value}`).join(";");
    if (style) found.style = style;
    if (this.checked) found.checked = "";
    if (this.disabled) found.disabled = "";
    if (this.hidden) found.hidden = "";
    const written = Object.entries(found)
      .filter(([key]) => !LEFT_OUT.has(key))
      .map(([key, value]) => ` ${key}="${escape(value)}"`);
    const start = `<${this.tag}${written.join("")}>`;
    if (VOID.has(this.tag)) return start;
    return `${start}${this.inside()}</${this.tag}>`;
  }
  inside() {
    return this.children.map((c) => (c instanceof Node ? c : escape(c))).join("");
  }
}

globalThis.document = {
  createElement: (tag) => new Node(tag),
  createElementNS: (_, tag) => new Node(tag),
};

const stills = {};
for (const [id, state] of Object.entries(JSON.parse(readFileSync(0, "utf-8")))) {
  const code = Buffer.from(state._esm).toString("base64");
  const { default: widget } = await import(`data:text/javascript;base64,${code}`);
  const model = { get: (key) => state[key], set() {}, on() {}, off() {}, save_changes() {} };
  const el = new Node("div");
  await widget.render({ model, el });
  stills[id] = el.inside();
}
process.stdout.write(JSON.stringify(stills), () => process.exit(0)); // no timer keeps it
