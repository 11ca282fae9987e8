// A page opened from the disk may not fetch others, so the search there lists titles without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Entries of a bibliography are items of its list; the role that docutils gives them is no longer in use.
document.addEventListener("DOMContentLoaded", () => {
  for (const entry of document.querySelectorAll("[role=doc-biblioentry]")) entry.setAttribute("role", "listitem");
});

// What scrolls sideways must be reachable by keyboard: formulas and tables that are wider than their column.
function letKeysScroll() {
  const wide = "mjx-container[display], .pst-scrollable-table-container, .cell_output .text_html, .cell_output details";
  for (const box of document.querySelectorAll(wide)) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}
addEventListener("load", () => Promise.resolve(window.MathJax?.startup?.promise).then(letKeysScroll));
addEventListener("resize", letKeysScroll);
addEventListener("toggle", letKeysScroll, true);
