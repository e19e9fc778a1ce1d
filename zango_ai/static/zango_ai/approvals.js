// Reloads the page of a run once a worker has continued it.

const EVERY_MS = 1500;

async function check() {
  const shown = document.querySelector("[data-za-status]");
  if (!shown) return;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const now = page.querySelector("[data-za-status]");
    if (response.ok && now?.dataset.zaStatus !== shown.dataset.zaStatus) {
      location.reload();
      return;
    }
  } catch {
    // The server cannot be reached for the moment.
  }
  setTimeout(check, EVERY_MS);
}

setTimeout(check, EVERY_MS);
