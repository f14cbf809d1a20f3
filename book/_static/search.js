/* Shows Pagefind's search, with the words that the address asks for. */
(() => {
  const place = document.getElementById("search");
  if (location.protocol === "file:") {
    place.textContent = "The search needs a web server. `make serve` starts one.";
    return;
  }
  const look = document.createElement("link");
  look.rel = "stylesheet";
  look.href = "pagefind/pagefind-ui.css";
  document.head.prepend(look); // before the course's own
  /* How the words of the course begin, all as long. Pagefind is content with a first
     letter, so a word that begins otherwise is looked for as what no page holds. */
  const NOWHERE = "\u2205";
  let known = null;
  let length = 0;
  const anywhere = (word) => {
    const letters = word.toLowerCase().match(/\p{L}[\p{L}_]*/u)?.[0] ?? "";
    return letters.length < length || known.has(letters.slice(0, length));
  };

  const search = new PagefindUI({
    element: place,
    ranking: { termSimilarity: 5 }, // a word before those that only begin with it
    pageSize: 10,
    resetStyles: false,
    showImages: false,
    showSubResults: true,
    processTerm(words) {
      // The address keeps them, for who comes back from a result.
      history.replaceState(null, "", `?${new URLSearchParams({ q: words })}`);
      return !known || words.split(/\s+/).every(anywhere) ? words : NOWHERE;
    },
  });
  const field = place.querySelector("input");
  field.ariaLabel = "Search the course"; // a title alone is no label
  const asked = new URLSearchParams(location.search).get("q");
  if (!asked) field.focus();
  fetch("pagefind/beginnings.json")
    .then((answer) => answer.json())
    .then((words) => { [known, length] = [new Set(words), words[0].length]; })
    .catch(() => {}) // without them it finds a little too much
    .finally(() => { if (asked) search.triggerSearch(asked); });
})();
