// Keeps the status of avatars in progress up to date, and reloads the page when one is done.

const EVERY_MS = 1500;

async function look(place) {
  const answer = await fetch(place.dataset.watch, { headers: { Accept: "application/json" } });
  if (answer.status === 404) return true;
  if (!answer.ok) return false;
  const said = await answer.json();
  if (!["queued", "preparing"].includes(said.status)) return true;
  place.dataset.status = said.status;
  place.querySelector("b").textContent = said.status[0].toUpperCase() + said.status.slice(1);
  place.querySelector("progress").value = said.percent;
  const stage = JSON.parse(place.dataset.stages)[said.stage] ?? said.stage;
  place.querySelector("small").textContent = stage ? `${stage}, ${said.percent} %` : "";
  return false;
}

async function watch() {
  const places = document.querySelectorAll(".avatar-status[data-watch^='/']");
  if (!places.length) return;
  if (!document.hidden) {
    const outcomes = await Promise.allSettled([...places].map(look));
    if (outcomes.some((outcome) => outcome.value)) {
      // A form that is being filled in, or a selection, must not be lost.
      const hasFiles = [...document.querySelectorAll("input[type=file]")].some((i) => i.files.length);
      if (!hasFiles && !document.querySelector("input.action-select:checked")) {
        location.reload();
        return;
      }
    }
  }
  setTimeout(watch, EVERY_MS);
}

document.addEventListener("DOMContentLoaded", watch);
