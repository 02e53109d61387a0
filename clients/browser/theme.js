// Light, dark, or as the system says. Not a module: it runs before the first paint, so that nothing flashes.
"use strict";

{
  const ORDER = ["auto", "light", "dark"];
  const NAMES = /** @type {Record<string, string>} */ ({ auto: "Follow system", light: "Light", dark: "Dark" });

  const stored = () => {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  };

  /** @param {string} theme */
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    const name = document.getElementById("theme-name");
    if (name) name.textContent = NAMES[theme] ?? "";
    document.getElementById("theme")?.setAttribute("aria-label", `Change the colours, now: ${NAMES[theme]}`);
  };

  apply(stored());
  addEventListener("DOMContentLoaded", () => {
    apply(stored());
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length] ?? "auto";
      try {
        localStorage.setItem("theme", next);
      } catch {
        // then it lasts until the page is left
      }
      apply(next);
    });
  });
}
