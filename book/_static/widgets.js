/* Shows the interactive figures of a page that has no kernel. The stored state of a
   widget is its model; the widget's own ES module, part of that state, does the rest. */
(() => {
  const MISSING = "This figure needs a running notebook.";
  const find = (kind) =>
    document.querySelectorAll(`script[type="application/vnd.jupyter.${kind}+json"]`);
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

  const states = Object.assign({}, ...[...find("widget-state")].map((s) => parse(s).state));

  /* Model and widget belong together: several views of one model share both. */
  const open = once(async (id) => {
    const values = states[id]?.state;
    if (states[id]?.model_module !== "anywidget") throw new Error(`no anywidget: ${id}`);
    if (values._css) addStyle(values._css);
    const loaded = await load(values._esm);
    const widget = typeof loaded === "function" ? await loaded() : loaded;
    const model = makeModel({ ...values });
    await widget.initialize?.({ model });
    return { model, widget };
  });

  const shown = [...find("widget-view")].map((script) => {
    const el = document.createElement("div");
    script.after(el);
    return open(parse(script).model_id)
      .then(({ model, widget }) => widget.render({ model, el }))
      .catch((problem) => {
        el.textContent = MISSING;
        console.info(String(problem));
      });
  });

  /* The figures have pushed the text down: go again to where the address points. */
  Promise.all(shown).then(() => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (shown.length && target) target.scrollIntoView();
  });
})();
