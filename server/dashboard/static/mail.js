// Comfort for the look and the words of mails: the preview follows the form, placeholders jump
// into the text. Without JavaScript the buttons of the forms do the same.
"use strict";

// --- the preview follows the form ---------------------------------------------------------------

const PREVIEW_WAITS_MS = 350;
const NOT_SHOWN = ["form_token", "picture"];

for (const form of document.querySelectorAll("form[data-preview]")) {
  const frame = document.getElementById(form.dataset.preview);
  let scheme = "light";
  let timer = null;

  // Not by the form itself: each time would be another step back in the browser's history.
  const show = () => {
    const asked = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (!NOT_SHOWN.includes(name)) asked.set(name, value);
    }
    asked.set("scheme", scheme);
    frame.contentWindow.location.replace(`${form.dataset.previewUrl}?${asked}`);
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(show, PREVIEW_WAITS_MS);
  };
  form.addEventListener("input", (event) => {
    const of = event.target.dataset.colourOf;
    if (of) form.elements[of].value = event.target.value;
    else matchSwatch(form, event.target);
    soon();
  });
  const standard = form.querySelector("[data-standard]");
  standard?.addEventListener("click", () => {
    for (const [name, value] of Object.entries(JSON.parse(standard.dataset.standard))) {
      form.elements[name].value = value;
      matchSwatch(form, form.elements[name]);
    }
    soon();
  });
  const schemes = [...document.querySelectorAll("button[data-scheme]")];
  for (const button of schemes) {
    button.addEventListener("click", () => {
      scheme = button.dataset.scheme;
      for (const one of schemes) one.setAttribute("aria-pressed", String(one === button));
      show();
    });
  }
}

// What is typed shows in the field of the colour beside it, once it is a colour.
function matchSwatch(form, field) {
  const swatch = form.querySelector(`[data-colour-of="${field.name}"]`);
  if (swatch && /^#[0-9a-f]{6}$/i.test(field.value)) swatch.value = field.value;
}

// --- placeholders go to where the cursor was ----------------------------------------------------

let lastText = null;

addEventListener("focusin", (event) => {
  if (event.target.matches("textarea")) lastText = event.target;
});

addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert]");
  if (!button) return;
  const text = lastText ?? button.form.querySelector("textarea");
  text.setRangeText(button.dataset.insert, text.selectionStart, text.selectionEnd, "end");
  text.dispatchEvent(new Event("input", { bubbles: true }));
  text.focus();
});
