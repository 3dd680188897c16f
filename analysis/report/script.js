"use strict";
// Everything on the page can be read without this: it sorts, filters, copies, and keeps the choice of a scheme.
(() => {
  const root = document.documentElement;
  const kept = (storage, key, value) => {
    try {
      if (value === undefined) return storage().getItem(key);
      storage().setItem(key, value);
    } catch { /* a page from a disk may have no storage */ }
    return null;
  };
  const local = () => window.localStorage;
  const session = () => window.sessionStorage;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const button = (text) => Object.assign(document.createElement("button"), { type: "button", textContent: text });

  const theme = kept(local, "ser-sweep-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;

  document.addEventListener("DOMContentLoaded", () => {
    chooseScheme();
    all("table").filter((table) => table.closest("[data-table]")).forEach(makeSortable);
    all("[data-table]").forEach(makeFilterable);
    filterRecipes();
    copyCommands();
    followContents();
    if (root.dataset.refresh) reloadGently(Number(root.dataset.refresh) * 1000);
    window.addEventListener("beforeprint", () => {
      all("main details:not(.recipe, .recipe *)").forEach((one) => { one.open = true; });
    });
  });

  function chooseScheme() {
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const toggle = document.querySelector("[data-theme-toggle]");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
    const name = () => { toggle.textContent = isDark() ? "Light scheme" : "Dark scheme"; };
    toggle.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      kept(local, "ser-sweep-theme", root.dataset.theme);
      name();
    });
    dark.addEventListener("change", name);
    name();
    document.querySelector("[data-controls]").hidden = false;
  }

  // "−5.37 [−8.0, −2.1]" is -5.37; a dash is nothing, and stays last.
  const missing = (text) => text === "" || text === "—";
  function number(text) {
    const found = /^[+−-]?[\d,]*\.?\d+(?![0-9A-Za-z.:-])/.exec(text);
    return found ? Number(found[0].replace("−", "-").replaceAll(",", "")) : NaN;
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    if (original.length < 2) return;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = button(head.textContent);
      head.replaceChildren(sort);
      sort.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") ?? "none"];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        body.append(...(next === "none" ? original : sorted(original, column, next === "ascending" ? 1 : -1)));
      });
    });
  }

  function sorted(rows, column, direction) {
    const keyed = rows.map((row) => ({ row, text: row.cells[column].textContent.trim() }));
    const numeric = keyed.every(({ text }) => missing(text) || !Number.isNaN(number(text)));
    const compare = numeric
      ? (a, b) => number(a.text) - number(b.text)
      : (a, b) => a.text.localeCompare(b.text, undefined, { numeric: true });
    const there = keyed.filter(({ text }) => !missing(text)).sort((a, b) => direction * compare(a, b));
    return [...there, ...keyed.filter(({ text }) => missing(text))].map(({ row }) => row);
  }

  function attachFilter(tools, input, count, rows, noun) {
    tools.hidden = false;
    const texts = rows.map((row) => row.textContent.toLowerCase());
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = words.length ? `${shown} of ${rows.length} ${noun}` : "";
    });
  }

  function makeFilterable(block) {
    const table = block.querySelector("table[data-long]");
    if (!table) return;
    attachFilter(block.querySelector(".tools"), block.querySelector("[data-filter]"),
      block.querySelector("[data-count]"), [...table.tBodies[0].rows], "rows");
  }

  function filterRecipes() {
    const recipes = all("[data-recipes] > details");
    const tools = document.querySelector("[data-recipes-tools]");
    if (recipes.length > 3) {
      attachFilter(tools, tools.querySelector("input"), tools.querySelector("[data-count]"), recipes, "cells");
    }
  }

  function copyCommands() {
    all("[data-command]").forEach((one) => {
      const copy = button("Copy");
      copy.addEventListener("click", async () => {
        const code = one.querySelector("code");
        try {
          await navigator.clipboard.writeText(code.textContent);
        } catch {
          window.getSelection().selectAllChildren(code);
          document.execCommand("copy");
        }
        copy.textContent = "Copied";
        window.setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
      one.append(copy);
    });
  }

  function followContents() {
    const contents = document.querySelector("[data-contents]");
    const wide = window.matchMedia("(min-width: 60.01rem)");
    const fold = () => { contents.open = wide.matches; };
    wide.addEventListener("change", fold);
    fold();
    const links = new Map(all("a", contents).map((link) => [link.hash.slice(1), link]));
    const visible = new Set();
    const observer = new IntersectionObserver((entries) => {
      entries.forEach(({ target, isIntersecting }) => visible[isIntersecting ? "add" : "delete"](target.id));
      const current = [...links.keys()].find((id) => visible.has(id));
      links.forEach((link, id) => {
        if (id === current) link.setAttribute("aria-current", "location");
        else link.removeAttribute("aria-current");
      });
    }, { rootMargin: "-10% 0px -60% 0px" });
    links.forEach((_, id) => observer.observe(document.getElementById(id)));
  }

  // While a sweep runs: load the page again with everything as its reader has it, but never under their hands.
  function reloadGently(milliseconds) {
    const pause = document.querySelector("[data-pause]");
    const state = () => JSON.stringify({
      y: window.scrollY,
      paused: pause.getAttribute("aria-pressed"),
      open: all("details").map((one) => one.open),
      filters: all("input").map((one) => one.value),
      sorted: all("th[aria-sort] button").map((one) => [all("th button").indexOf(one), one.parentElement.getAttribute("aria-sort")]),
    });
    const before = JSON.parse(kept(session, "ser-sweep-state") || "null");
    if (before) restore(before, pause);
    pause.addEventListener("click", () => {
      const paused = pause.getAttribute("aria-pressed") !== "true";
      pause.setAttribute("aria-pressed", String(paused));
    });
    window.setInterval(() => {
      const busy = document.activeElement?.matches("input") || !window.getSelection().isCollapsed;
      if (document.hidden || busy || pause.getAttribute("aria-pressed") === "true") return;
      kept(session, "ser-sweep-state", state());
      window.location.reload();
    }, milliseconds);
  }

  function restore(before, pause) {
    pause.setAttribute("aria-pressed", before.paused);
    const details = all("details");
    if (before.open.length === details.length) details.forEach((one, index) => { one.open = before.open[index]; });
    const inputs = all("input");
    if (before.filters.length === inputs.length) {
      inputs.forEach((one, index) => {
        if (!before.filters[index]) return;
        one.value = before.filters[index];
        one.dispatchEvent(new Event("input"));
      });
    }
    const heads = all("th button");
    before.sorted.forEach(([index, direction]) => {
      for (let click = 0; click < (direction === "ascending" ? 1 : 2); click += 1) heads[index]?.click();
    });
    window.history.scrollRestoration = "manual";
    window.requestAnimationFrame(() => window.scrollTo({ top: before.y, behavior: "instant" }));
  }
})();
