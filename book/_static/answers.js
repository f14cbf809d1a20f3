/* Tasks that are answered on the page. What is right and every report were made by the
   course's checks when the book was built; here they are looked up and shown. The best
   result of each task stays in this browser, and is sent nowhere. */
(() => {
  const KEY = "inside-the-vit-encoder.progress";
  const forms = [...document.querySelectorAll("form.answer")];
  const panel = document.querySelector(".answer-progress");
  const part = (name) => panel?.querySelector(name) ?? document.createElement("p");

  /* ---- What is remembered: task → its best result. ---- */

  let results = {}; // also where the browser keeps nothing
  const remark = (text) => {
    part("[role=status]").textContent = text;
  };

  const isResult = (found) =>
    typeof found?.version === "string" &&
    typeof found.passed === "boolean" &&
    Number.isInteger(found.points) &&
    Number.isInteger(found.out_of) &&
    Array.isArray(found.misconceptions);

  /* Another tab may have added something. */
  function load() {
    let text;
    try {
      text = localStorage.getItem(KEY);
    } catch {
      return remark("This browser lets the page keep nothing: your progress lasts until you leave it.");
    }
    let kept = [["", null]]; // what is not JSON holds nothing that can be read
    try {
      kept = Object.entries(JSON.parse(text ?? "{}"));
    } catch {}
    for (const [id, found] of kept) {
      if (isResult(found)) keepBest(id, found);
      else remark("Some of the progress that was kept in this browser cannot be read, and does not count.");
    }
  }

  function save() {
    try {
      localStorage.setItem(KEY, JSON.stringify(results));
    } catch {
      remark("This browser keeps nothing more, as its storage is full or forbidden. Export your progress before you leave.");
    }
  }

  /* Of two that are as good, the later stays. One of another version does not count. */
  const rank = ({ passed, points }) => (passed ? 1e6 : 0) + points;
  function keepBest(id, found) {
    const old = results[id];
    const same = old?.version === found.version && old.out_of === found.out_of;
    if (!same || rank(found) >= rank(old)) results[id] = { id, ...found, answered: true };
  }

  function counted({ data }) {
    const found = results[data.id];
    return found?.version === data.version && found.out_of === data.out_of ? found : undefined;
  }

  /* ---- From an answer to its report. ---- */

  class Unreadable extends Error {
    constructor(message, field) {
      super(message);
      this.field = field;
    }
  }

  const numbersIn = (field) => {
    const what = field.labels[0].firstChild.textContent;
    const count = Number(field.dataset.count);
    const text = field.value.normalize("NFKC").replaceAll("−", "-").replace(/\s*([%/])\s*/g, "$1");
    const parts = text.replace(/[[\](){}"'`]/g, " ").split(/[\s,;]+/).filter(Boolean);
    const numbers = parts.map((part) => {
      const [, above, below = "1", percent] =
        part.match(/^([^/%]+)(?:\/([^/%]+))?(%?)$/) ?? [];
      const number = Number(above) / Number(below) / (percent ? 100 : 1);
      if (!Number.isFinite(number)) throw new Unreadable(`${what}: “${part}” is not a number.`, field);
      return number;
    });
    if (numbers.length === count) return numbers;
    const wanted = count === 1 ? "one number" : `${count} numbers`;
    const comma = count === 1 && numbers.length > 1 ? " Write 0.25 and 1000, without a comma inside." : "";
    throw new Unreadable(`${what}: give ${wanted}; you gave ${numbers.length || "none"}.${comma}`, field);
  };

  /* As Python prints with ".10g". */
  function shown(number) {
    const power = number ? Number(number.toExponential(9).split("e")[1]) : 0;
    if (power >= -4 && power < 10) return String(Number(number.toPrecision(10)));
    const digits = Number(number.toPrecision(10)).toExponential().split("e")[0];
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }

  /* As the heading of a report says it. */
  function stateOf(misconceptions) {
    let names = misconceptions.slice(0, 2).join(", ").replaceAll("-", " ");
    if (misconceptions.length > 2) names += ` and ${misconceptions.length - 2} more`;
    return names ? `not passed yet (${names})` : "not passed yet";
  }

  function ofNumbers(known, given) {
    const { right, tolerance, rows, single } = known;
    const near = (got, other) => Math.abs(got - other) <= tolerance * (1 + 1e-9);
    const wrong = right.flatMap((number, i) => (near(given[i], number) ? [] : [i]));
    if (!wrong.length) return known.passed;
    const [first, ...more] = wrong;
    const fits = (...mistakes) =>
      given.every((got, i) => near(got, mistakes.find((row) => row[i] !== null)?.[i] ?? right[i]));
    const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
    const moved = sorted(given).every((number, i) => near(number, sorted(right)[i]));
    const got = given[first];
    const small = 1e-9 * Math.abs(got);
    const report =
      rows.find(([row]) => fits(row))?.[1] ??
      (more.length ? known.both.find(([a, b]) => fits(rows[b][0], rows[a][0]))?.[2] : undefined) ??
      (moved ? known.order[first] : undefined) ??
      single[first].find(([from, to]) => from - small <= got && got <= to + small)?.[2] ??
      (more.length ? known.among : known.alone)[first];
    const [misconceptions, lines] = report.map((places) => places.map((i) => known.texts[i]));
    const heading = `${known.head}, ${stateOf(misconceptions)}`;
    const message = lines.join("\n").replace(/\{(\d+)\}/g, (_, i) => shown(given[i]));
    return { points: 0, passed: false, misconceptions, heading, message };
  }

  function ofClaims({ right, heads, points, wrong, passed }, chosen) {
    const claims = Object.keys(right);
    const missed = claims.filter((claim) => chosen[claim] !== right[claim]);
    if (!missed.length) return passed;
    const told = missed.flatMap((claim) => (chosen[claim] ? [wrong[claim][chosen[claim]]] : []));
    const open = missed.filter((claim) => !chosen[claim]);
    if (open.length === claims.length) throw new Unreadable("Choose a word first.");
    const lines = told.map(([, line]) => line);
    if (open.length) lines.push(`Not judged yet: ${open.join(", ")}.`);
    if (told.length) lines.push(`Question: ${told[0][2]}`);
    const misconceptions = told.map(([name]) => name);
    const correct = claims.length - missed.length;
    const heading = `${heads[correct]}, ${stateOf(misconceptions)}`;
    return { points: points[correct], passed: false, misconceptions, heading, message: lines.join("\n") };
  }

  function reportOf({ form, data }) {
    if (data.choices) {
      const chosen = form.querySelector("input:checked");
      if (!chosen) throw new Unreadable("Choose an answer first.");
      return data.choices[chosen.value];
    }
    if (data.claims) {
      const menus = [...form.querySelectorAll("select")];
      return ofClaims(data.claims, Object.fromEntries(menus.map((m) => [m.name, m.value])));
    }
    const fields = [...form.querySelectorAll(".answer-fields input")];
    return ofNumbers(data.numbers, fields.flatMap(numbersIn));
  }

  /* ---- What is shown. ---- */

  const make = (name, text, more) =>
    Object.assign(document.createElement(name), { textContent: text, ...more });

  /* Lines that begin with two spaces are rows of numbers, which stay in columns; what
     stands between backticks is code. */
  function parts(message) {
    return [...message.matchAll(/(?:^ {2}.*\n?)+|^.+/gm)].map(([block]) => {
      if (block.startsWith("  ")) return make("pre", block.trimEnd(), { tabIndex: 0 });
      const line = make("p", "");
      line.append(...block.split(/`([^`]+)`/).map((t, i) => (i % 2 ? make("code", t) : t)));
      return line;
    });
  }

  function show({ form, data }, heading, message, state) {
    const box = form.querySelector(".answer-report");
    box.className = `answer-report ${state}`;
    box.replaceChildren(make("p", heading), ...parts(message));
    if (state !== "wrong" || !data.read) return;
    const again = make("p", "Read again: ", { className: "answer-again" });
    again.append(make("a", data.again, { href: data.read }));
    box.append(again);
  }

  function tell() {
    for (const task of tasks) {
      const found = counted(task);
      const best = found?.passed ? `✓ ${found.out_of ? "passed" : "right"}` : found?.points ? `${found.points} of ${found.out_of}` : "";
      const changed = results[task.data.id] && !found ? "The task has changed: answer again." : "";
      task.form.querySelector(".answer-best").textContent = best || changed;
    }
    const right = tasks.filter((task) => counted(task)?.passed).length;
    part("[data-right]").textContent = right;
  }

  const tasks = forms.map((form) => {
    const data = JSON.parse(form.querySelector("script").textContent);
    form.querySelector("fieldset").disabled = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      check(task);
    });
    form.addEventListener("input", () => {
      const box = form.querySelector(".answer-report");
      if (!box.firstChild || box.classList.contains("old")) return;
      box.classList.add("old");
      box.prepend(make("p", "Your answer has changed since: check it again."));
    });
    const task = { form, data };
    return task;
  });

  function check(task) {
    let report;
    try {
      report = reportOf(task);
    } catch (problem) {
      if (!(problem instanceof Unreadable)) throw problem;
      show(task, problem.message, "", "open");
      return problem.field?.focus();
    }
    show(task, report.heading, report.message, report.passed ? "passed" : "wrong");
    const { version, out_of } = task.data;
    const { points, passed, misconceptions } = report;
    remark("");
    load();
    keepBest(task.data.id, { version, points, out_of, passed, misconceptions });
    save();
    tell();
  }

  const steps = {
    export() {
      const lines = Object.values(results).map((found) => `${JSON.stringify(found)}\n`);
      if (!lines.length) return remark("Nothing is answered yet, so there is nothing to export.");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
      link.download = panel.dataset.file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some read it only later
    },
    forget() {
      if (!confirm("Forget your answers on all pages of this course, in this browser?")) return;
      results = {};
      try {
        localStorage.removeItem(KEY);
        remark("Forgotten.");
      } catch {
        remark("Forgotten; the browser had kept nothing.");
      }
      tell();
    },
  };
  panel?.addEventListener("click", ({ target }) => steps[target.dataset.do]?.());

  load();
  tell();
  addEventListener("storage", ({ key }) => {
    if (key !== KEY && key !== null) return;
    results = {};
    load();
    tell();
  });
})();
