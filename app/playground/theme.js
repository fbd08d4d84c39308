// Loaded before the page is drawn, so that a chosen theme never flashes in late.
(() => {
  const NAMES = ["auto", "light", "dark"];
  let theme = "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
    if (button) button.onclick = choose;
  };
  const choose = () => {
    theme = NAMES[(NAMES.indexOf(theme) + 1) % NAMES.length];
    show();
    localStorage.setItem("unfog-theme", theme);
  };
  document.addEventListener("DOMContentLoaded", show);
  // A part that got lost on the way leaves the page dead, and none of its parts can say so.
  const lost = ({ target }) => {
    if (target.tagName !== "SCRIPT") return;
    const notice = document.getElementById("notice");
    if (notice) notice.textContent = "A part of this page did not arrive. Loading it again in a moment.";
    if (notice) notice.hidden = false;
    setTimeout(() => location.reload(), 2000);
  };
  addEventListener("error", lost, true);
  try {
    const kept = localStorage.getItem("unfog-theme");
    if (NAMES.includes(kept)) theme = kept;
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  show();
})();
