// Comfort on top of pages that work without it: menus, dialogs, keys, filters, sums, uploads.
// No state of its own; everything it does is a link, a form or a class.
"use strict";

const first = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

document.documentElement.classList.add("js");

// --- menus, dialogs, copying ------------------------------------------------------------------

addEventListener("click", (event) => {
  const target = event.target;
  for (const menu of all("details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const opener = target.closest("[data-open]");
  const dialog = opener && document.getElementById(opener.dataset.open);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  const closer = target.closest("dialog [data-close]");
  if (closer) {
    event.preventDefault();
    closer.closest("dialog").close();
  }
  const revealer = target.closest("[data-reveal]");
  if (revealer) reveal(revealer.dataset.reveal, event);
  const copier = target.closest("[data-copy]");
  if (copier) copy(copier);
});

function reveal(id, event) {
  const details = document.getElementById(id);
  if (!details) return;
  event.preventDefault();
  details.open = true;
  (first("input:not([type=hidden])", details) ?? first("summary", details)).focus();
  details.scrollIntoView({ block: "nearest" });
}

async function copy(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = button.dataset.copied;
}

// --- filters and forms ------------------------------------------------------------------------

addEventListener("change", (event) => {
  const field = event.target;
  if (field.dataset.reveals) {
    const isWanted = field.value === field.dataset.revealsOn;
    document.getElementById(field.dataset.reveals).toggleAttribute("data-hide", !isWanted);
    if (isWanted) return;
    for (const date of all("input", document.getElementById(field.dataset.reveals))) date.value = "";
  }
  const form = field.closest("form[data-auto-submit]");
  if (form) form.requestSubmit();
});

// Empty filters stay out of the URL, which people copy and send to each other.
addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-auto-submit]")) return;
  for (const field of event.target.elements) {
    if (field.name && !field.value) field.disabled = true;
  }
});

addEventListener("pageshow", () => {
  for (const field of all("form[data-auto-submit] :disabled")) field.disabled = false;
});

// The rest of a split, while amounts are typed. Cents as integers: never floating point.
addEventListener("input", (event) => {
  const form = event.target.closest("form[data-rest]");
  if (!form) return;
  const shown = first("[data-rest-shown]", form);
  let rest = cents(form.dataset.rest);
  for (const field of all("input[inputmode=decimal]", form)) rest -= cents(field.value) ?? 0n;
  const sign = rest < 0n ? "\u2212" : "";
  const digits = String(rest < 0n ? -rest : rest).padStart(3, "0");
  const comma = document.documentElement.lang === "de" ? "," : ".";
  shown.textContent = `${sign}${digits.slice(0, -2)}${comma}${digits.slice(-2)}`;
  shown.classList.toggle("danger", rest < 0n);
});

function cents(text) {
  const found = /^(-?)([\d.,]*?)(?:[.,](\d{1,2})0?)?$/.exec(text.replace(/[\s€]/g, ""));
  if (!found) return null;
  const whole = found[2].replace(/[.,]/g, "") || "0";
  return BigInt(found[1] + whole + (found[3] ?? "").padEnd(2, "0"));
}

// --- upload: choosing or dropping is enough ----------------------------------------------------

for (const zone of all("form[data-drop]")) {
  zone.addEventListener("change", () => zone.requestSubmit());
  zone.addEventListener("submit", () => {
    const told = first("[data-sending]", zone);
    told.textContent = told.dataset.sending;
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("is-over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        first("[type=file]", zone).files = event.dataTransfer.files;
        zone.requestSubmit();
      }
    });
  }
}

// --- keys: never inside a field, never with a modifier, and they can be switched off -----------
// (WCAG 2.1.4)

const PLACES = { h: "/", o: "/orders", p: "/postings", b: "/statements", s: "/shops" };
const GO_WAITS_MS = 1200;
let isGoing = false;

addEventListener("keydown", (event) => {
  if (event.key === "Escape") return closeMenu();
  const isTyping = event.target.closest("input, select, textarea, dialog");
  if (document.body.dataset.keys === "off" || isTyping) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isGoing) {
    isGoing = false;
    if (PLACES[event.key]) location.href = PLACES[event.key];
    return;
  }
  const act = KEYS[event.key];
  if (act && act(event) !== false) event.preventDefault();
});

const KEYS = {
  g: () => {
    isGoing = true;
    setTimeout(() => (isGoing = false), GO_WAITS_MS);
  },
  "/": () => (first("main [type=search]") ?? first("[type=search]"))?.focus(),
  "?": () => document.getElementById("keys")?.showModal(),
  j: () => step(1),
  k: () => step(-1),
  s: (event) => reveal("split", event),
  i: () => press("button[formaction$='/ignore'], [data-key='i']"),
  u: () => press("[data-key='u']"),
  Enter: (event) =>
    event.target.closest("a, button, summary") ? false : press("[data-key='Enter']"),
};

function press(selector) {
  const button = first(selector);
  if (!button) return false;
  button.click();
}

// In the inbox a step opens the next posting; in a table it moves the focus.
function step(by) {
  const queue = all(".queue li > a");
  const rows = queue.length ? queue : all(".rows .go, .list .go").filter((row) => row.offsetParent);
  if (!rows.length) return false;
  const current = queue.length
    ? rows.findIndex((row) => row.ariaCurrent || row.hasAttribute("aria-current"))
    : rows.indexOf(document.activeElement);
  const next = rows[Math.max(0, Math.min(current + by, rows.length - 1))];
  if (queue.length && next !== rows[current]) next.click();
  else next.focus();
}

function closeMenu() {
  const menu = document.activeElement?.closest("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  first("summary", menu).focus();
}
