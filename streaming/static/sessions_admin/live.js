// Keeps the picture of a live session up to date, while the page is visible.
const EVERY_MS = 2_000;

for (const still of document.querySelectorAll("img.session-still[data-live]")) {
  const address = still.src;
  const again = () => {
    if (document.hidden) return setTimeout(again, EVERY_MS);
    const next = new Image();
    next.onload = () => {
      still.src = next.src;
      setTimeout(again, EVERY_MS);
    };
    next.onerror = () => setTimeout(again, 3 * EVERY_MS);
    next.src = `${address}?${Date.now()}`;
  };
  setTimeout(again, EVERY_MS);
}
