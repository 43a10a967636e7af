// The print button of a page.
document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
