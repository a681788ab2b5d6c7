// Puts the report's body in the place of the one that is shown, whenever the run has moved. What the report holds is
// parsed as a document of its own, where nothing runs.
const events = new EventSource("events");
let busy = false, late = false;

async function show() {
  if (busy) { late = true; return; }
  busy = true;
  try {
    const answer = await fetch("page", { cache: "no-store" });
    if (answer.ok) {
      const made = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...document.querySelectorAll("details")].map((one) => one.open);
      made.querySelectorAll("details").forEach((one, i) => { one.open = open[i] ?? one.open; });
      document.title = made.title;
      document.body.replaceChildren(...made.body.childNodes);
    }
  } finally {
    busy = false;
    if (late) { late = false; show(); }
  }
}

events.onmessage = show;
