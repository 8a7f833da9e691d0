"use strict";
// Search: every word must be in a row, or in the section's title; sections without a hit are hidden.
const box = document.getElementById("search"), found = document.getElementById("found");
const sections = [...document.querySelectorAll("main section")].map((section) => ({
  section,
  title: section.querySelector("h1").textContent.toLowerCase(),
  text: section.textContent.toLowerCase(),
  rows: [...section.querySelectorAll("table:not(.facts) tbody tr")].map((row) => [row, row.textContent.toLowerCase()]),
}));
function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (text) => words.every((word) => text.includes(word));
  let count = 0;
  for (const { section, title, text, rows } of sections) {
    const shown = has(text), whole = has(title), some = rows.some(([, row]) => has(row));
    section.classList.toggle("hidden", !shown);
    for (const [row, content] of rows) row.classList.toggle("hidden", words.length > 0 && !whole && some && !has(content));
    count += shown;
  }
  found.textContent = words.length === 0 ? "" : count === 1 ? "1 page" : `${count} pages`;
}
box.addEventListener("input", search);
// A way to a place that the search hides ends the search.
window.addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.closest(".hidden")) { box.value = ""; search(); target.scrollIntoView(); }
});
