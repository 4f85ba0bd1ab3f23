// All that is written by hand: the theme, "/" for the search, and a tick while something goes on. The rest is htmx and HTML from the server.
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    root.dataset.theme = dark() ? "light" : "dark";
    document.cookie = `fastapi-chain-theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    document.getElementById("q").focus();
  });
  addEventListener("DOMContentLoaded", () => {
    // In a graph that is too large for its frame, the task that is looked at comes into sight.
    for (const node of document.querySelectorAll(".big [aria-current]")) {
      const frame = node.closest(".big"), at = node.getBoundingClientRect(), around = frame.getBoundingClientRect();
      frame.scrollBy(at.left - around.left - (around.width - at.width) / 2, at.top - around.top - (around.height - at.height) / 2);
    }
  });
  setInterval(() => {
    // Bars of running tasks grow, and lists are looked up again, as long as somebody can see it.
    const body = document.querySelector("#body[hx-get]");
    if (body && !document.hidden) body.dispatchEvent(new CustomEvent("tick"));
  }, 1500);
})();
