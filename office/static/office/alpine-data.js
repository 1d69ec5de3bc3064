// What the pages' attributes speak of. Alpine's CSP build evaluates no code of its own: it reads names, properties, calls
// and plain operators, so whatever is more than that (a statement, `localStorage`, `window`) has its name here.
"use strict";

(() => {
  const SIDEBAR = "sidebarDesktopOpen";

  document.addEventListener("alpine:init", () => {
    // unfold/js/app.js defines these as functions.
    Alpine.data("theme", window.theme);
    Alpine.data("searchForm", window.searchForm);
    Alpine.data("searchCommand", window.searchCommand);
    Alpine.data("searchDropdown", () => {
      const dropdown = window.searchDropdown();
      return Object.assign(dropdown, {
        open() {
          this.openSearchResults = true;
          this.currentIndex = 0;
        },
        close() {
          const input = this.$refs.searchInput;
          this.openSearchResults = false;
          if (input.value === "") {
            input.blur();
          } else {
            input.value = "";
          }
        },
      });
    });

    // The body of every page (templates/unfold/layouts/skeleton.html).
    Alpine.data("page", (primaryTab = "") => ({
      activeTab: (primaryTab && window.getCurrentTab()) || primaryTab,
      sidebarMobileOpen: false,
      sidebarDesktopOpen: localStorage.getItem(SIDEBAR) !== "0",
      init() {
        this.$watch(SIDEBAR, (isOpen) => localStorage.setItem(SIDEBAR, isOpen ? "1" : "0"));
      },
      /** Where the form of a page is posted: the same address, with the tab that is open. */
      formAction(tab) {
        const { pathname, search } = window.location;
        return pathname + search + (tab && tab !== "general" ? `#${tab}` : "");
      },
      sortRecords(event) {
        window.sortRecords(event);
      },
    }));
  });
})();
