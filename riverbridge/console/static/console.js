// Keys, selection, live refresh and the palette. Without it every page still works, by links and forms.
"use strict";
(() => {
  const EVERY = 3000;
  const $ = (what, within = document) => within.querySelector(what);
  const $$ = (what, within = document) => [...within.querySelectorAll(what)];
  const base = document.body.dataset.base;
  const rows = () => $$("tr[data-href]");
  const here = () => $("tr.here");
  const picked = () => $$("td.pick input:checked");
  const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']";

  // --- selection -----------------------------------------------------------------------------
  let last = null;
  function count() {
    const shown = $("[data-selected]");
    if (!shown) return;
    const number = picked().length;
    shown.hidden = number === 0;
    $("b", shown).textContent = number;
    const all = $("[data-all]");
    if (all) all.checked = number > 0 && number === $$("td.pick input").length;
    $$(".bar [data-act]").forEach((button) => { button.disabled = number === 0; });
    live.show();
  }
  document.addEventListener("click", (event) => {
    const box = event.target.closest("td.pick input");
    if (box) {
      const boxes = $$("td.pick input");
      if (event.shiftKey && last && last.isConnected) {
        const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
        boxes.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
      }
      last = box;
    }
    if (event.target.matches("[data-all]")) {
      $$("td.pick input").forEach((one) => { one.checked = event.target.checked; });
    }
    if (event.target.closest(".pick")) count();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      event.preventDefault();
      navigator.clipboard?.writeText($("pre", copy.closest("details")).textContent);
      copy.textContent = "Copied";
    }
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action) actions[action]();
    for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    if (!event.target.closest("#pages, [data-do=menu]")) unfold(false);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  // --- confirmation ---------------------------------------------------------------------------
  const agreed = new WeakSet();
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    const asked = button?.dataset.confirm;
    if (!asked || agreed.has(button)) return;
    event.preventDefault();
    const number = picked().length;
    const bulk = button.form.matches(".list");
    const text = bulk ? `${asked} ${number} ${button.form.dataset.noun ?? "job"}${number === 1 ? "" : "s"}` : asked;
    confirm(`${text}?`, asked.split(" ")[0], () => {
      agreed.add(button);
      button.form.requestSubmit(button);
    });
  });
  function confirm(text, word, then) {
    const dialog = $("#confirm");
    $("#confirm-text").textContent = text;
    $("[value=yes]", dialog).textContent = word;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && then(), { once: true });
    dialog.showModal();
  }

  // --- live refresh ---------------------------------------------------------------------------
  const live = {
    paused: false,
    part: () => $("#live[data-live]"),
    held() { return picked().length > 0 || document.hidden || !!$("dialog[open], details.menu[open]"); },
    show() {
      const button = $("[data-do=live]");
      if (!button) return;
      button.hidden = !this.part();
      const still = this.paused || picked().length > 0;
      button.toggleAttribute("data-paused", still);
      $("[data-text]", button).textContent = this.paused ? "Paused" : still ? "Held" : "Live";
    },
    refresh() {
      if (!this.part() || this.paused || this.held()) return;
      // One question for both parts of the page.
      const rail = $("#rail") ? "#rail" : "";
      htmx.ajax("GET", location.href, { target: "#live", select: "#live", swap: "outerHTML", selectOOB: rail });
    },
  };
  const named = (row) => row.dataset.id ?? row.dataset.href;
  const again = (name) => rows().find((row) => named(row) === name);
  // Where the focus is, in words that hold for the part that comes instead: so it is not lost.
  function place() {
    const at = document.activeElement;
    const part = at?.closest("#live, #rail");
    if (!part) return null;
    const row = at.closest("tr[data-href]");
    return { part: part.id, row: row && named(row), number: within(row ?? part).indexOf(at) };
  }
  function within(part) {
    return $$(FOCUSABLE, part).filter((one) => part.matches("tr") || !one.closest("tr[data-href]"));
  }
  function back({ part, row, number }) {
    const among = row ? again(row) : $(`#${part}`);
    if (among) within(among)[number]?.focus({ preventScroll: true });
  }
  let kept = { open: [], shut: [], row: null, place: null };
  document.addEventListener("htmx:beforeSwap", () => {
    const all = $$("#live details[data-key]");
    kept = {
      open: all.filter((one) => one.open).map((one) => one.dataset.key),
      shut: all.filter((one) => !one.open).map((one) => one.dataset.key),
      row: here() && named(here()),
      place: place(),
    };
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const one of $$("#live details[data-key]")) {
      if (kept.open.includes(one.dataset.key)) one.open = true;
      if (kept.shut.includes(one.dataset.key)) one.open = false;
    }
    if (kept.row) again(kept.row)?.classList.add("here");
    if (kept.place) back(kept.place);
    ready();
  });
  setInterval(() => live.refresh(), EVERY);

  // --- what buttons and keys do ----------------------------------------------------------------
  const actions = {
    live() { live.paused = !live.paused; live.show(); live.refresh(); },
    theme() {
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
      const next = now === "dark" ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try { localStorage.setItem("riverbridge-theme", next); } catch { /* for this page only */ }
    },
    palette() { palette.open(); },
    menu() { unfold(!$("#pages").classList.contains("open")); },
  };
  function unfold(open) {
    $("#pages")?.classList.toggle("open", open);
    $("[data-do=menu]")?.setAttribute("aria-expanded", String(open));
  }
  // What Escape closes, but for dialogs, which do it themselves; the focus goes where it came from.
  function leave() {
    const menu = $("details.menu[open]");
    const button = $("[data-do=menu][aria-expanded=true]");
    if (menu) menu.open = false;
    else if (button) unfold(false);
    else return false;
    (menu ? $("summary", menu) : button).focus();
    return true;
  }
  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(here());
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
    enter(next);
  }
  function enter(row) {
    stand(row);
    $$("a", row).find((link) => link.getAttribute("href") === row.dataset.href)?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  function stand(row) {
    here()?.classList.remove("here");
    row.classList.add("here");
  }
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (row) stand(row);
  });
  function act(name) {
    const button = $(`[data-act="${name}"]`);
    if (!button) return;
    if (button.form.matches(".list") && !picked().length) {
      const box = here() && $("td.pick input", here());
      if (!box) return;
      box.checked = true;
      count();
    }
    if (!button.disabled) button.form.requestSubmit(button);
  }
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    Enter: () => { const to = here()?.dataset.href; if (to) location.assign(to); },
    x: () => { const box = here() && $("td.pick input", here()); if (box) { box.checked = !box.checked; count(); } },
    r: () => act("retry"),
    c: () => act("cancel"),
    p: () => actions.live(),
    "/": () => { const box = $("[data-search]"); if (box) { box.focus(); box.select(); } else location.assign(`${base}/jobs`); },
    "?": () => help(),
  };
  // Who dictates, or leans on a key, can do without them.
  const SILENT = "riverbridge-keys";
  const spoken = () => { try { return localStorage.getItem(SILENT) !== "off"; } catch { return true; } };
  function help() {
    $("#help [data-keys]").checked = spoken();
    $("#help").showModal();
  }
  $("#help [data-keys]")?.addEventListener("change", (event) => {
    try { localStorage.setItem(SILENT, event.target.checked ? "on" : "off"); } catch { /* as they are */ }
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      palette.open();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    const at = event.target instanceof Element ? event.target : document.body;
    const typing = at.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && !leave() && typing) at.blur();
    if (typing || !Object.hasOwn(keys, event.key) || !spoken()) return;
    if (event.key === "Enter" && at.closest("a, button, summary")) return;
    event.preventDefault();
    keys[event.key]();
  });

  // --- the palette -----------------------------------------------------------------------------
  const palette = {
    choices: [],
    at: 0,
    open() {
      const dialog = $("#palette");
      if (!dialog || dialog.open) return;
      $("input", dialog).value = "";
      dialog.showModal();
      this.list("");
    },
    list(text) {
      const pages = $$(".top nav a").map((link) => [link.textContent.trim(), link.href]);
      const states = $$(".rail .state").map((one) => one.textContent);
      const found = [];
      if (/^\d+$/.test(text)) found.push([`Job ${text}`, `${base}/jobs/${text}`]);
      for (const [title, to] of pages) found.push([title, to]);
      for (const state of states.length ? states : ["running", "retryable", "discarded", "available"]) {
        found.push([`Jobs that are ${state}`, `${base}/jobs?state=${state}`]);
      }
      for (const label of $$(".top .menu li a")) found.push([`Database ${label.textContent.trim()}`, label.href]);
      const words = text.toLowerCase().split(/\s+/).filter(Boolean);
      this.choices = found.filter(([title]) => words.every((word) => title.toLowerCase().includes(word)));
      if (words.every((word) => "keys".includes(word))) this.choices.push(["Keys", help]);
      if (text.trim()) this.choices.push([`Search jobs for ${text.trim()}`, `${base}/jobs?q=${encodeURIComponent(text.trim())}`]);
      this.at = 0;
      this.show();
    },
    show() {
      const list = $("#palette ul");
      list.replaceChildren(...this.choices.map(([title], number) => {
        const item = document.createElement("li");
        item.id = `place-${number}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", String(number === this.at));
        item.textContent = title;
        item.addEventListener("click", () => this.go(number));
        return item;
      }));
      list.children[this.at]?.scrollIntoView({ block: "nearest" });
      $("#palette input").setAttribute("aria-activedescendant", `place-${this.at}`);
    },
    go(number) {
      const to = this.choices[number]?.[1];
      if (typeof to === "string") location.assign(to);
      else if (to) { $("#palette").close(); to(); }
    },
  };
  $("#palette input")?.addEventListener("input", (event) => palette.list(event.target.value));
  $("#palette input")?.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      palette.at = (palette.at + step + palette.choices.length) % palette.choices.length;
      palette.show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      palette.go(palette.at);
    }
  });

  // What does not fit is behind a button at the top, and scrolls sideways in tables.
  function fit() {
    const top = $(".top");
    const button = $("[data-do=menu]");
    if (button) {
      top.classList.remove("folds");
      top.classList.add("fits");
      button.hidden = true;
      const folds = top.scrollWidth > top.clientWidth;
      top.classList.toggle("fits", !folds);
      top.classList.toggle("folds", folds);
      button.hidden = !folds;
    }
    for (const box of $$(".scroll:not([aria-label])")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }
  addEventListener("resize", fit);

  // Back on a list, from a job or from what was done to one, one is where one was.
  const ROW = "riverbridge-row";
  addEventListener("pagehide", () => {
    if (!here()) return;
    try { sessionStorage.setItem(ROW, JSON.stringify([location.href, named(here())])); } catch { /* at its top */ }
  });
  function returned() {
    const [way] = performance.getEntriesByType("navigation");
    if (way?.type !== "back_forward" && !$(".said")) return;
    let last = null;
    try { last = JSON.parse(sessionStorage.getItem(ROW)); } catch { /* at its top */ }
    const row = last?.[0] === location.href && again(last[1]);
    if (row) enter(row);
  }

  function ready() {
    $$("[data-do=palette], [data-do=theme], [data-copy]").forEach((one) => { one.hidden = false; });
    count();
    live.show();
    fit();
  }
  ready();
  returned();
})();
