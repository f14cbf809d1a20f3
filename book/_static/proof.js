/* Opens the proof of a claim in place: a mark beside a claim is a link to the cell or the
   source that proves it, and here it shows a copy of that. Without this script, or in a
   browser that knows no popovers, the link leads there. */
(() => {
  // Arrows scroll what holds the focus. Sphinx would turn the page.
  document.body.addEventListener("keydown", (event) => {
    const isArrow = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (isArrow && event.target.closest("pre, .table-wrapper, #proof-panel"))
      event.stopPropagation();
  });

  if (!HTMLElement.prototype.showPopover) return;
  const WAIT = 400; // milliseconds that the mouse rests on a mark before it opens
  const LINGER = 300; // milliseconds in which it may cross to the panel
  const LONG = 12; // lines of code; more are folded
  const EDGE = 8; // pixels between the panel and what is beside it
  const marks = [...document.querySelectorAll(".proof > a")];

  const panel = document.createElement("div");
  panel.className = panel.id = "proof-panel";
  panel.popover = "auto"; // a tap beside it closes it
  panel.tabIndex = -1;
  panel.setAttribute("role", "dialog");
  panel.setAttribute("aria-labelledby", "proof-title");
  panel.innerHTML = `
    <p><strong id="proof-title"></strong> <a></a>
      <button type="button" popovertarget="proof-panel" popovertargetaction="hide"
        aria-label="Close">×</button></p>
    <div></div>`;
  const [title, go, body] = ["strong", "a", "div"].map((name) => panel.querySelector(name));
  const back = document.createElement("button");
  back.className = "proof-back";
  back.type = "button";
  back.textContent = "↩ Back to the text";

  let current; // the mark whose proof is shown
  let chosen = false; // opened by a click or key, not only by the mouse above it
  let timer;
  const later = (step, wait) => {
    clearTimeout(timer);
    timer = setTimeout(step, wait);
  };
  const isOpen = () => panel.matches(":popover-open");
  const close = () => isOpen() && panel.hidePopover();

  const pages = new Map([[location.pathname, document]]);
  async function page({ pathname }) {
    if (!pages.has(pathname)) {
      const answer = await fetch(pathname);
      if (!answer.ok) throw new Error(`${pathname}: ${answer.status}`);
      pages.set(pathname, new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    return pages.get(pathname);
  }

  /* The cell or the entry that a label stands in or before. */
  function find(doc, { hash }) {
    const target = doc.getElementById(decodeURIComponent(hash.slice(1)));
    const ends = ".cell, .citation";
    return target?.closest(ends) ?? target?.nextElementSibling?.closest(ends);
  }

  /* A copy for the panel: no id twice, no button, long code folded, links that lead. */
  function copyOf(original, address) {
    const copy = document.importNode(original, true);
    copy.removeAttribute("id");
    copy.querySelectorAll("script, button, .headerlink").forEach((part) => part.remove());
    for (const part of copy.querySelectorAll("[href], [src]"))
      for (const name of ["href", "src"])
        if (part.hasAttribute(name) && !part.closest("defs, use"))
          part.setAttribute(name, new URL(part.getAttribute(name), address).href);
    for (const part of copy.querySelectorAll("*"))
      for (const { name, value } of [...part.attributes])
        if (["id", "for", "aria-labelledby"].includes(name))
          part.setAttribute(name, value.replace(/\S+/g, "proof-$&"));
        else if (value.includes("url(#"))
          part.setAttribute(name, value.replaceAll("url(#", "url(#proof-"));
    const code = copy.querySelector(".cell_input");
    const lines = code?.textContent.trim().split("\n").length;
    const folded = code?.closest("details");
    if (folded) folded.open = lines <= LONG;
    else if (lines > LONG) {
      const fold = document.createElement("details");
      fold.innerHTML = `<summary>Code, ${lines} lines</summary>`;
      code.replaceWith(fold);
      fold.append(code);
    }
    return copy;
  }

  /* Below the mark, or above it if there is more room. It scrolls with the text. */
  function place() {
    const mark = current.getBoundingClientRect();
    const room = { below: innerHeight - mark.bottom, above: mark.top };
    panel.style.maxHeight = "";
    const above = room.below < panel.offsetHeight + 2 * EDGE && room.above > room.below;
    panel.style.maxHeight = `${Math.max(room.above, room.below) - 2 * EDGE}px`;
    const widest = document.documentElement.clientWidth - panel.offsetWidth - EDGE;
    panel.style.left = `${scrollX + Math.max(EDGE, Math.min(mark.left, widest))}px`;
    const top = above ? mark.top - EDGE - panel.offsetHeight : mark.bottom + EDGE;
    panel.style.top = `${scrollY + top}px`;
  }

  async function open(mark, byChoice) {
    close();
    chosen = byChoice;
    current = mark;
    const isSource = mark.textContent === "source";
    title.textContent = mark.dataset.title;
    go.textContent = isSource ? "Go to the reference" : "Go to the cell";
    go.href = mark.href;
    body.textContent = "Loading…";
    mark.after(panel); // so that it comes next for the keyboard, and is left with the mark
    mark.setAttribute("aria-expanded", "true");
    if (byChoice) mark.focus({ preventScroll: true }); // where the focus returns to
    panel.showPopover();
    if (byChoice) panel.focus({ preventScroll: true });
    place();
    try {
      const doc = await page(mark);
      const heading = doc === document || isSource ? "" : doc.querySelector("h1");
      const copy = copyOf(find(doc, mark), mark.href);
      if (current !== mark) return;
      if (heading) title.textContent += `, in ${heading.firstChild.textContent}`;
      body.replaceChildren(copy);
    } catch {
      if (current !== mark) return;
      body.textContent = "It stands on another page, which cannot be read from here.";
    }
    if (isOpen()) place();
  }

  panel.addEventListener("beforetoggle", (event) => {
    if (event.newState === "closed") current.setAttribute("aria-expanded", "false");
  });
  panel.addEventListener("toggle", () => {
    const isLost = [document.body, null].includes(document.activeElement);
    if (!isOpen() && chosen && isLost) current.focus({ preventScroll: true });
  });
  panel.addEventListener("focusin", () => (chosen = true));
  panel.addEventListener("focusout", ({ relatedTarget: next }) => {
    if (next && !current.parentElement.contains(next)) close();
  });

  // Not left to the popover: Sphinx takes this key for its own.
  document.addEventListener("keydown", ({ key }) => key === "Escape" && close(), true);

  const isPlain = (event) =>
    !(event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

  marks.forEach((mark) => {
    mark.dataset.title = mark.title;
    mark.setAttribute("aria-label", `${mark.textContent}: ${mark.title}`);
    mark.removeAttribute("title"); // it would cover the panel
    mark.setAttribute("aria-haspopup", "dialog");
    mark.setAttribute("aria-expanded", "false");
    let wasChosen = false; // before a press that closes it
    mark.addEventListener("pointerdown", () => {
      wasChosen = isOpen() && chosen && current === mark;
    });
    mark.addEventListener("click", (event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      clearTimeout(timer);
      if (wasChosen) close();
      else open(mark, true);
      wasChosen = false;
    });
    const isShown = () => isOpen() && current === mark;
    const home = mark.parentElement;
    home.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse") return;
      if (isShown()) clearTimeout(timer);
      else later(() => open(mark, false), WAIT);
    });
    home.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "mouse") return;
      clearTimeout(timer);
      if (isShown() && !chosen) later(() => !chosen && close(), LINGER);
    });
  });

  /* To the cell and back: the last way from a mark is remembered for this tab. */
  const trip = () => JSON.parse(sessionStorage.getItem("proof"));
  go.addEventListener("click", (event) => {
    if (!isPlain(event)) return;
    const way = { from: location.href, to: go.href, mark: marks.indexOf(current) };
    sessionStorage.setItem("proof", JSON.stringify(way));
    chosen = false; // the focus goes where the link leads
    close();
    if (way.from === way.to) setTimeout(arrive); // no other event tells
  });
  back.addEventListener("click", () => {
    const { from, to, mark } = trip();
    if (from !== to) return history.back();
    back.remove();
    show(marks[mark]);
  });
  /* The browser remembers the place; if the page has grown meanwhile, not the right one. */
  function show(mark) {
    mark.focus({ preventScroll: true });
    requestAnimationFrame(() => mark.scrollIntoView({ block: "nearest" }));
  }
  function arrive() {
    const way = trip();
    back.remove();
    if (way?.to === location.href) find(document, location)?.prepend(back);
    else if (way?.from === location.href && marks[way.mark]) {
      show(marks[way.mark]);
      sessionStorage.removeItem("proof");
    }
  }
  addEventListener("hashchange", arrive);
  addEventListener("pageshow", arrive);
})();
