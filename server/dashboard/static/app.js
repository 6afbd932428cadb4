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

// The rest of a split, while amounts are typed. Cents as integers: never floating point. Why an
// order is short is asked only where it is; what becomes of the rest, only where there is one.
addEventListener("input", (event) => {
  const form = event.target.closest("form[data-rest]");
  if (!form) return;
  const shown = first("[data-rest-shown]", form);
  let rest = cents(form.dataset.rest);
  for (const field of all("input[inputmode=decimal]", form)) {
    const amount = cents(field.value) ?? 0n;
    rest -= amount;
    const row = field.closest("[data-owed]");
    const isShort = amount > 0n && amount < cents(row.dataset.owed);
    offer(first("[data-difference]", row), isShort);
  }
  offer(first("[data-rest-choice]", form), rest > 0n);
  const sign = rest < 0n ? "\u2212" : "";
  const digits = String(rest < 0n ? -rest : rest).padStart(3, "0");
  const comma = document.documentElement.lang === "de" ? "," : ".";
  shown.textContent = `${sign}${digits.slice(0, -2)}${comma}${digits.slice(-2)}`;
  shown.classList.toggle("danger", rest < 0n);
});

function offer(choice, isWanted) {
  choice.toggleAttribute("data-hide", !isWanted);
  if (!isWanted) first("select", choice).value = "";
}

function cents(text) {
  const found = /^(-?)([\d.,]*?)(?:[.,](\d{1,2})0?)?$/.exec(text.replace(/[\s€]/g, ""));
  if (!found) return null;
  const whole = found[2].replace(/[.,]/g, "") || "0";
  return BigInt(found[1] + whole + (found[3] ?? "").padEnd(2, "0"));
}

// --- several rows at once -----------------------------------------------------------------------

const ticks = (form) => all(`[form="${form}"][data-acts]`);

addEventListener("change", (event) => {
  const form = event.target.dataset.tickAll ?? event.target.getAttribute("form");
  if (!form || !ticks(form).length) return;
  if (event.target.dataset.tickAll) {
    for (const box of ticks(form)) box.checked = event.target.checked;
  }
  showTicked(form);
});

function showTicked(form) {
  const ticked = ticks(form).filter((box) => box.checked);
  const count = ticked.length;
  const whole = first(`[data-tick-all="${form}"]`);
  whole.checked = count === ticks(form).length;
  whole.indeterminate = count > 0 && !whole.checked;
  first(`[data-ticked="${form}"]`).textContent = count;
  const bar = document.getElementById(`${form}-bar`);
  bar.toggleAttribute("data-hide", count === 0);
  for (const button of all("[data-act]", bar)) {
    const fits = (box) => box.dataset.acts.split(" ").includes(button.dataset.act);
    button.toggleAttribute("data-hide", !ticked.some(fits));
  }
}

// The browser remembers ticks when somebody comes back to the list.
addEventListener("pageshow", () => {
  for (const form of all("form[data-bulk]")) {
    if (ticks(form.id).length) showTicked(form.id);
  }
});

// What belongs to the chosen kind of rule only.
for (const choice of all("select[data-shows]")) {
  const show = () => {
    for (const part of all("[data-kind]")) {
      part.toggleAttribute("data-hide", !part.dataset.kind.split(" ").includes(choice.value));
    }
  };
  choice.addEventListener("change", show);
  show();
}

// --- upload: choosing or dropping is enough; each file has a line of its own --------------------

const UPLOADS_AT_ONCE = 2;

for (const zone of all("form[data-drop]")) {
  const waiting = [];
  let running = 0;
  const told = first("[data-sending]", zone);
  const quiet = told.textContent;

  const next = () => {
    told.textContent = running || waiting.length ? told.dataset.sending : quiet;
    if (!waiting.length || running >= UPLOADS_AT_ONCE) return;
    running += 1;
    send(zone, ...waiting.shift(), () => {
      running -= 1;
      next();
    });
    next();
  };
  const take = (files) => {
    for (const file of files) waiting.push([file, announce(zone, file)]);
    first("[type=file]", zone).value = "";
    next();
  };
  zone.addEventListener("change", (event) => {
    if (event.target.type === "file") take([...event.target.files]);
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("is-over", kind === "dragover");
      if (kind === "drop") take([...event.dataTransfer.files]);
    });
  }
}

function announce(zone, file) {
  const list = document.getElementById(zone.dataset.into);
  first("[data-placeholder]", list)?.remove();
  list.prepend(document.getElementById("sending").content.cloneNode(true));
  const row = list.firstElementChild;
  first("[data-name]", row).textContent = file.name;
  first("progress", row).ariaLabel = file.name;
  return row;
}

function send(zone, file, row, done) {
  const form = new FormData(zone);
  form.set("file", file);
  const request = new XMLHttpRequest();
  request.open("POST", zone.action);
  request.setRequestHeader("HX-Request", "true");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) first("progress", row).value = (100 * event.loaded) / event.total;
  });
  request.addEventListener("loadend", () => {
    const login = request.getResponseHeader("HX-Redirect");
    if (login) location.href = login;
    else if (request.status === 200 || request.status === 422) settle(row, request.responseText);
    else refuse(row, zone.dataset.failed);
    done();
  });
  request.send(form);
}

// What the server says of the file takes the place of the progress; it goes on by itself.
function settle(row, html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  const rows = all("li", parsed.content).filter((one) => !one.parentElement);
  row.replaceWith(...rows);
  for (const one of rows) {
    for (const older of all(`[id="${one.id}"]`)) if (one.id && older !== one) older.remove();
    htmx.process(one);
  }
}

function refuse(row, why) {
  first("progress", row).remove();
  first(".error", row).hidden = false;
  first(".error span", row).textContent = why;
}

// --- keys: never inside a field, never with a modifier, and they can be switched off -----------
// (WCAG 2.1.4)

const PLACES = {
  h: "/",
  o: "/orders",
  p: "/postings",
  m: "/dunning",
  c: "/credits",
  b: "/statements",
  s: "/shops",
  e: "/settings/assignment",
};
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
  x: (event) => first("[type=checkbox]", event.target.closest("tr") ?? undefined)?.click() ?? false,
  s: (event) => reveal("split", event),
  i: () => press("button[formaction$='/ignore'], [data-key='i']"),
  c: () => press("[data-key='c']"),
  r: () => press("[data-key='r']"),
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
