// The only script of the page: a button beside each part of a transfer that copies it.
(() => {
  const said = document.querySelector("[data-copied]");
  if (!said || !navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const word = button.textContent;
    let back;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
      } catch {
        return;
      }
      clearTimeout(back);
      button.textContent = said.textContent = said.dataset.copied;
      back = setTimeout(() => {
        button.textContent = word;
        said.textContent = "";
      }, 2000);
    });
  }
})();
