// Comfort for bank accounts and accesses: countries as ticks, slow buttons, the flickering code.
"use strict";

// --- a country that is chosen from the list becomes a tick -------------------------------------

addEventListener("change", (event) => {
  const field = event.target;
  const form = field.closest("form[data-countries]");
  if (!form || field.name !== "more_countries") return;
  const names = [...field.list.options].map((option) => option.value);
  if (!names.includes(field.value)) return;
  const ticks = document.getElementById(form.dataset.countries);
  const label = document.createElement("label");
  const tick = document.createElement("input");
  label.className = "check";
  Object.assign(tick, { type: "checkbox", name: "more_countries", value: field.value, checked: true });
  label.append(tick, field.value);
  ticks.append(label);
  field.value = "";
  form.dispatchEvent(new CustomEvent("added"));
});

// --- the part that only Swiss accounts need opens with their IBAN -------------------------------

addEventListener("input", (event) => {
  const swiss = event.target.name === "iban" && event.target.form?.querySelector("[data-swiss]");
  if (swiss && /^\s*(CH|LI)/i.test(event.target.value)) swiss.open = true;
});

// --- a bank may take half a minute: say so, and ask it once only -------------------------------

addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.slow) return;
  if (form.classList.contains("is-slow")) return event.preventDefault();
  form.classList.add("is-slow");
  const button = event.submitter ?? form.querySelector("button");
  button.setAttribute("aria-disabled", "true");
  button.dataset.before = button.textContent;
  button.textContent = form.dataset.slow;
});

// Back from the page that the bank's answer led to.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form.is-slow")) {
    form.classList.remove("is-slow");
    for (const button of form.querySelectorAll("[data-before]")) {
      button.removeAttribute("aria-disabled");
      button.textContent = button.dataset.before;
    }
  }
});

// --- flickering code: HHD 1.4, chipTAN optical --------------------------------------------------
// Each half byte is shown twice, once with the clock bar lit and once dark.

const FLICKER_MS = 50;
const SYNC = "0FFF";
const SIZES_REM = [9, 11, 13, 15, 17, 20, 23];

for (const frame of document.querySelectorAll("[data-flicker]")) {
  const bars = [...frame.querySelectorAll(".bar")];
  const code = (SYNC + frame.dataset.flicker).replace(/(.)(.)/g, "$2$1");
  const run = frame.querySelector("[data-flicker-run]");
  const start = run.textContent;
  let timer = null;
  let at = 0;
  let size = 2;
  const show = () => {
    const bits = parseInt(code[Math.floor(at / 2) % code.length], 16);
    bars[0].classList.toggle("is-lit", at % 2 === 0);
    for (let bit = 0; bit < 4; bit++) bars[bit + 1].classList.toggle("is-lit", Boolean(bits & (1 << bit)));
    at = (at + 1) % (2 * code.length);
  };
  run.addEventListener("click", () => {
    if (timer) clearInterval(timer);
    timer = timer ? null : setInterval(show, FLICKER_MS);
    run.textContent = timer ? run.dataset.stop : start;
  });
  for (const button of frame.querySelectorAll("[data-flicker-size]")) {
    button.addEventListener("click", () => {
      size = Math.max(0, Math.min(SIZES_REM.length - 1, size + Number(button.dataset.flickerSize)));
      frame.querySelector("svg").style.width = `${SIZES_REM[size]}rem`;
    });
  }
}
