/* Shows the interactive figures of a page that has no kernel, when they come near. The
   stored state of a widget is its model; the widget's own ES module, part of that state,
   does the rest. Until then a still picture stands there: see tools/still.py. */
(() => {
  const MISSING = "This figure needs a running notebook.";
  const find = (kind, place = document) =>
    [...place.querySelectorAll(`script[type="application/vnd.jupyter.${kind}+json"]`)];
  const parse = (script) => JSON.parse(script.textContent);

  function makeModel(values) {
    const listeners = new Map();
    const tell = (event) => [...(listeners.get(event) ?? [])].forEach((listen) => listen());
    return {
      get: (key) => values[key],
      set(key, value) {
        if (values[key] === value) return;
        values[key] = value;
        tell(`change:${key}`);
        tell("change");
      },
      on(event, listen) {
        if (!listeners.has(event)) listeners.set(event, new Set());
        listeners.get(event).add(listen);
      },
      off: (event, listen) => listeners.get(event)?.delete(listen),
      save_changes() {}, // nobody is there to save them
      send() {},
    };
  }

  /* The same text gives the same promise: a module or a style sheet is added once. */
  const once = (make, made = new Map()) => (text) => {
    if (!made.has(text)) made.set(text, make(text));
    return made.get(text);
  };
  const load = once(async (code) => {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const module = await import(url);
    URL.revokeObjectURL(url);
    return module.default;
  });
  const addStyle = once((css) => {
    document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  });

  /* The state of a figure stands in the page, or in a file of its own. */
  const readStates = once(async (file) => {
    if (file) {
      const script = Object.assign(document.createElement("script"), { src: file });
      await new Promise((loaded, failed) => {
        Object.assign(script, { onload: loaded, onerror: failed });
        document.head.append(script);
      });
    }
    return Object.assign({}, ...find("widget-state").map((s) => parse(s).state));
  });

  /* Model and widget belong together: several views of one model share both. */
  const open = once(async (id) => {
    const view = find("widget-view").find((script) => parse(script).model_id === id);
    const found = (await readStates(view.dataset.state))[id];
    if (found?.model_module !== "anywidget") throw new Error(`no anywidget: ${id}`);
    const values = found.state;
    if (values._css) addStyle(values._css);
    const loaded = await load(values._esm);
    const widget = typeof loaded === "function" ? await loaded() : loaded;
    const model = makeModel({ ...values });
    await widget.initialize?.({ model });
    return { model, widget };
  });

  /* The still picture stands where the figure will, until that answers. */
  async function show(script) {
    const next = script.nextElementSibling;
    const still = next?.matches(".vit-still") ? next : null;
    const el = document.createElement("div");
    try {
      const { model, widget } = await open(parse(script).model_id);
      script.after(el);
      await widget.render({ model, el });
      still?.remove();
    } catch (problem) {
      console.info(String(problem));
      el.textContent = MISSING;
      if (!still) script.after(el);
      else el.remove();
    }
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        for (const script of find("widget-view", target)) show(script);
      }
    },
    { rootMargin: "300px" },
  );
  for (const output of new Set(find("widget-view").map((script) => script.parentElement))) {
    seen.observe(output); // a script itself is nowhere
  }
})();
