// Names for what unfold, Select2 and Django's own widgets leave without one, for people who hear a page instead of seeing it.
"use strict";

(() => {
  const nameSelects = (root) => {
    for (const select of root.querySelectorAll("select.select2-hidden-accessible")) {
      const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
      const name = select.getAttribute("aria-label") || label?.textContent.trim();
      const box = select.nextElementSibling;
      if (!name || !box?.classList.contains("select2")) {
        continue;
      }
      for (const part of box.querySelectorAll('[role="combobox"], [role="textbox"], [role="searchbox"]')) {
        part.removeAttribute("aria-labelledby");
        part.setAttribute("aria-label", name);
      }
    }
  };

  const name = (root) => {
    nameSelects(root);
    // The font writes an icon for a word, which would be read out.
    for (const icon of root.querySelectorAll(".material-symbols-outlined")) {
      icon.setAttribute("aria-hidden", "true");
    }
    for (const tip of root.querySelectorAll(".help-tooltip[aria-label]")) {
      tip.setAttribute("role", "img");
    }
  };

  window.addEventListener("load", () => name(document));
  for (const event of ["formset:added", "htmx:load"]) {
    document.addEventListener(event, ({ target }) => setTimeout(() => name(target)));
  }
})();
