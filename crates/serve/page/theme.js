// Puts the chosen colours on the page before anything is drawn, and makes the switch work.
(function () {
  "use strict";
  const key = "tamis.theme";
  const order = ["auto", "light", "dark"];
  const words = { auto: "as the system", light: "light", dark: "dark" };

  function read() {
    try {
      const saved = localStorage.getItem(key);
      return order.includes(saved) ? saved : "auto";
    } catch {
      return "auto";
    }
  }

  function put(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  put(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const show = (theme) => {
      button.dataset.value = theme;
      button.setAttribute("aria-label", `Colours: ${words[theme]}. Change`);
      button.title = `Colours: ${words[theme]}`;
    };
    show(read());
    button.addEventListener("click", () => {
      const next = order[(order.indexOf(read()) + 1) % order.length];
      try {
        localStorage.setItem(key, next);
      } catch {
        // Without storage the choice lasts until the page is closed.
      }
      put(next);
      show(next);
    });
  });
})();
