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
  const search = new PagefindUI({
    element: place,
    pageSize: 10,
    resetStyles: false,
    showImages: false,
    showSubResults: true,
    processTerm(words) {
      // The address keeps them, for who comes back from a result.
      history.replaceState(null, "", `?${new URLSearchParams({ q: words })}`);
      return words;
    },
  });
  const field = place.querySelector("input");
  field.ariaLabel = "Search the course"; // a title alone is no label
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) search.triggerSearch(asked);
  else field.focus();
})();
